package schedule

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
)

// hourly is a schedule of three subjects whose slots are hours, so that the state
// in Redis, which a test sets, determines what is due.
func hourly(t *testing.T) *File {
	t.Helper()
	return loadOne(t, "name: p", "every: 1h", "type: shop:stock:read", items(3))
}

// runDue makes a new runner do what is due now.
func (w *testScheduler) runDue(t *testing.T) {
	t.Helper()
	w.runDueOn(t, newRunner(w.Scheduler, w.file.Schedules[0]))
}

func (w *testScheduler) runDueOn(t *testing.T, r *runner) {
	t.Helper()
	for range 100 {
		wait, err := r.step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if wait > 0 {
			return
		}
	}
	t.Fatal("the runner does not wait after 100 steps")
}

// enqueuedSlots are the slots of which a task was enqueued.
func (r *recorder) enqueuedSlots() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []int64
	for slot := range r.counts {
		all = append(all, slot)
	}
	slices.Sort(all)
	return all
}

// TestStateDeterminesWhatRuns checks which slots one worker enqueues for the state
// that it finds in Redis.
func TestStateDeterminesWhatRuns(t *testing.T) {
	t.Parallel()
	const hour = 3600
	tests := []struct {
		name string
		// state returns the fields of the hash; newest is the newest slot.
		state func(newest int64) []any
		// ticks are the slots enqueued, in hours before the newest.
		ticks                                 []int64
		enqueued, late, missed, failed, tasks int
	}{
		{name: "never seen", state: func(int64) []any { return nil }},
		{name: "up to date", state: func(n int64) []any { return []any{"last", n, "spec", "every 1h"} }},
		{
			name:  "one missed",
			state: func(n int64) []any { return []any{"last", n - hour, "spec", "every 1h"} },
			ticks: []int64{0},
			late:  1,
			tasks: 3,
		},
		{
			name:   "many missed",
			state:  func(n int64) []any { return []any{"last", n - 30*hour, "spec", "every 1h"} },
			ticks:  []int64{0},
			late:   1,
			missed: 29,
			tasks:  3,
		},
		{
			name:  "another timing than before",
			state: func(n int64) []any { return []any{"last", n - 30*hour, "spec", "every 2h"} },
		},
		{name: "removed and put back", state: func(n int64) []any { return []any{"last", n - 30*hour, "spec", ""} }},
		{
			name:  "a clock that was set back",
			state: func(n int64) []any { return []any{"last", n + 30*hour, "spec", "every 1h"} },
		},
		{
			name: "the newest was begun by a worker that died",
			state: func(n int64) []any {
				return []any{
					"last", n - hour,
					"spec", "every 1h",
					"slot", n,
					"owner", "x",
					"until", 1,
					"begun", n*1000 + 5,
					"done", 0,
					"digest", "other",
				}
			},
			ticks:    []int64{0},
			enqueued: 1,
			tasks:    3,
		},
		{
			name: "an old one was begun by a worker that died",
			state: func(n int64) []any {
				return []any{
					"last", n - 3*hour,
					"spec", "every 1h",
					"slot", n - 2*hour,
					"owner", "x",
					"until", 1,
					"begun", 1,
					"done", 0,
					"digest", "other",
				}
			},
			ticks:  []int64{0},
			late:   1,
			missed: 1,
			failed: 1,
			tasks:  3,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			newest := f.now().Truncate(time.Hour).Unix()
			if fields := test.state(newest); fields != nil {
				f.setState("p", fields...)
			}
			w := f.scheduler("a", hourly(t))
			w.runDue(t)
			if now := f.now().Truncate(time.Hour).Unix(); now != newest {
				t.Logf("the hour has changed during the test, which proves nothing")
				return
			}
			var got []int64
			for _, slot := range f.recorder.enqueuedSlots() {
				got = append(got, (newest-slot)/hour)
			}
			if !slices.Equal(got, test.ticks) {
				t.Errorf("ticks %v hours ago, want %v", got, test.ticks)
			}
			for _, c := range []struct {
				what      string
				got, want int
			}{
				{tickEnqueued, w.ticks("p", tickEnqueued), test.enqueued},
				{tickLate, w.ticks("p", tickLate), test.late},
				{tickMissed, w.ticks("p", tickMissed), test.missed},
				{tickFailed, w.ticks("p", tickFailed), test.failed},
				{"tasks", w.tasks("p", taskEnqueued), test.tasks},
			} {
				if c.got != c.want {
					t.Errorf("%s = %d, want %d", c.what, c.got, c.want)
				}
			}
			tick, err := LastTick(t.Context(), f.redis.Client(), "p")
			if n := tick.MissedBefore(f.now()); err != nil || n != test.missed+test.failed {
				t.Errorf("Redis says that %d ticks were missed, %v", n, err)
			}
			// Nothing is left for another worker.
			b := f.scheduler("b", hourly(t))
			b.runDue(t)
			if n := b.ticks("p", tickEnqueued) + b.ticks("p", tickLate) + b.ticks("p", tickMissed); n != 0 {
				t.Errorf("another worker counted %d ticks", n)
			}
		})
	}
}

// While the lease of another owner lasts, a worker waits. It resumes a released
// slot after the tasks that are enqueued.
func TestLeaseExcludesOtherWorkers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	file := hourly(t)
	newest := f.now().Truncate(time.Hour).Unix()
	f.setState(
		"p",
		"last", newest-3600,
		"spec", "every 1h",
		"slot", newest,
		"owner", "x",
		"until", f.now().Add(time.Hour).UnixMilli(),
		"begun", newest*1000+5,
		"done", 2,
		"digest", file.Schedules[0].digest,
	)
	w := f.scheduler("a", file)
	r := newRunner(w.Scheduler, file.Schedules[0])
	if wait, err := r.step(t.Context()); err != nil || wait < 500*time.Millisecond || wait > 2*time.Second {
		t.Errorf("step = %s, %v; want to wait about as long as a lease", wait, err)
	}
	if got := f.recorder.enqueuedSlots(); got != nil {
		t.Fatalf("enqueued %v although another owner has the lease", got)
	}
	r.state.release(t.Context(), "y") // not the owner
	w.stepHeld(t, r)
	r.state.release(t.Context(), "x")
	w.runDueOn(t, r)
	if n := w.tasks("p", taskEnqueued); n != 1 {
		t.Errorf("%d tasks were enqueued, want the one that was missing", n)
	}
}

func (w *testScheduler) stepHeld(t *testing.T, r *runner) {
	t.Helper()
	if wait, err := r.step(t.Context()); err != nil || wait <= 0 {
		t.Errorf("step = %s, %v; want to wait", wait, err)
	}
}

// A worker that stops in the middle of a tick gives up its lease at once.
func TestStopReleasesTheLease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	file := loadOne(t, "name: p", "every: 1h", "type: shop:stock:read", items(3*chunkSize))
	newest := f.now().Truncate(time.Hour).Unix()
	f.setState("p", "last", newest-3600, "spec", "every 1h")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.recorder.before = func(name string, _ request, nth int) {
		if name == "a" && nth == chunkSize+chunkSize/2 {
			cancel()
		}
	}
	a := f.scheduler("a", file)
	r := newRunner(a.Scheduler, file.Schedules[0])
	if _, err := r.step(ctx); err == nil {
		t.Fatal("the tick was not interrupted")
	}
	b := f.scheduler("b", file)
	b.runDue(t)
	if n := b.tasks("p", taskEnqueued) + b.tasks("p", taskDuplicate); n != 2*chunkSize {
		t.Errorf("the other worker requested %d tasks, want those of the two chunks that were not complete", n)
	}
	if n := a.tasks("p", taskEnqueued) + b.tasks("p", taskEnqueued); n > 3*chunkSize {
		t.Errorf("%d tasks were counted, there are %d", n, 3*chunkSize)
	}
	if n := f.recorder.counts[newest]; n != 3*chunkSize {
		t.Errorf("%d tasks were enqueued, want %d", n, 3*chunkSize)
	}
	for a, ids := range f.recorder.ids {
		if len(ids) != 1 {
			t.Errorf("%v was enqueued %d times", a, len(ids))
		}
	}
}

// While a subject's task is active its next one is skipped. However the task
// ends, the one after is enqueued.
func TestTaskOfBusySubjectIsSkipped(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.scheduler("a", hourly(t))
	newest := f.now().Truncate(time.Hour).Unix()
	f.setState("p", "last", newest-3600, "spec", "every 1h")
	w.runDue(t)
	first := map[string]string{}
	for a, ids := range f.recorder.ids {
		for id := range ids {
			first[a.subject] = id
		}
	}
	if len(first) != 3 {
		t.Fatalf("tasks = %v", first)
	}
	claims := f.take(t, 3)
	end := func(subject string, outcome record.Outcome) {
		if err := claims[first[subject]].End(broker.Result{Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	end("u1", record.Failed)
	end("u2", record.Unknown)
	// The next tick, before its time, because no hour passes here.
	slot := time.Unix(newest+3600, 0)
	l := lease{status: slotResumed, begun: slot, gap: time.Hour}
	if err := newRunner(w.Scheduler, w.file.Schedules[0]).tick(t.Context(), slot, l); err != nil {
		t.Fatal(err)
	}
	if n := w.tasks("p", taskOverlap); n != 1 {
		t.Errorf("%d tasks were skipped, want the one whose subject has an active task", n)
	}
	for subject, want := range map[string]int{"u0": 0, "u1": 1, "u2": 1} {
		if got := len(f.recorder.ids[request{newest + 3600, subject}]); got != want {
			t.Errorf("%s was enqueued %d times at the next tick, want %d", subject, got, want)
		}
	}
}

func TestRunNowEnqueuesOncePerSecond(t *testing.T) {
	t.Parallel()
	for range 20 {
		f := newFixture(t)
		w := f.scheduler("a", hourly(t))
		first, err := RunNow(t.Context(), w.file.Schedules[0], w.redis, w.recording)
		if err != nil || first != (RunResult{Enqueued: 3}) {
			t.Fatalf("first = %+v, %v", first, err)
		}
		second, err := RunNow(t.Context(), w.file.Schedules[0], w.redis, w.recording)
		if err != nil || second.Enqueued != 0 || second.Duplicate+second.Overlap != 3 {
			t.Fatalf("second = %+v, %v", second, err)
		}
		if second.Duplicate == 3 { // it was the same second
			return
		}
	}
	t.Error("two requests were never in the same second")
}

func TestLastTick(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if tick, err := LastTick(t.Context(), f.redis.Client(), "p"); err != nil || !tick.Last.IsZero() {
		t.Errorf("of an unknown schedule: %+v, %v", tick, err)
	}
	w := f.scheduler("a", hourly(t))
	w.runDue(t)
	if tick, err := LastTick(t.Context(), f.redis.Client(), "p"); err != nil || !tick.Last.IsZero() {
		t.Errorf("of a new schedule: %+v, %v", tick, err)
	}
	newest := f.now().Truncate(time.Hour)
	f.setState("p", "last", newest.Unix()-3600)
	w.runDue(t)
	tick, err := LastTick(t.Context(), f.redis.Client(), "p")
	if err != nil || !tick.Last.Equal(newest) || f.now().Sub(tick.Finished) > time.Minute {
		t.Errorf("after a tick: %+v, %v; want %s", tick, err, newest)
	}
}

// What was missed is told for an hour, or until a tick by hand makes up for it.
func TestATickByHandMakesUpForWhatWasMissed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.setState("p", "last", f.now().Add(-5*time.Hour).Unix(), "spec", "every 1h")
	w := f.scheduler("a", hourly(t))
	w.runDue(t)
	read := func() Tick {
		t.Helper()
		tick, err := LastTick(t.Context(), f.redis.Client(), "p")
		if err != nil {
			t.Fatal(err)
		}
		return tick
	}
	tick := read()
	for ago, want := range map[time.Duration]int{
		-time.Minute:     0,
		time.Minute:      4,
		time.Hour:        4,
		61 * time.Minute: 0,
	} {
		if n := tick.MissedBefore(tick.Resumed.Add(ago)); n != want {
			t.Errorf("%s after the first tick again, %d were missed, want %d", ago, n, want)
		}
	}
	if _, err := RunNow(t.Context(), w.file.Schedules[0], w.redis, w.recording); err != nil {
		t.Fatal(err)
	}
	if after := read(); after.Missed != 0 || !after.Last.Equal(tick.Last) {
		t.Errorf("after a tick by hand: %+v, want the same without the missed ones as %+v", after, tick)
	}
}

// A queue that no worker runs holds one task per subject, however long that lasts.
// A task that is recorded but missing from the queue, because its producer died
// in between, blocks the next one only until it expires.
func TestQueueWithoutWorkerHoldsOneTaskPerSubject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.scheduler("a", hourly(t))
	start := f.now().Truncate(time.Hour)
	tick := func(n int) (enqueued, overlap int) {
		t.Helper()
		slot := start.Add(time.Duration(n) * time.Hour)
		b := newBatch(w.file.Schedules[0], w.enqueuer, w.inFlight, slot, start)
		b.period = time.Millisecond
		counts, overlapping, err := b.enqueueRange(t.Context(), 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		expired := f.now().Add(5 * time.Millisecond)
		testwait.Eventually(t, time.Minute, "the tasks have expired", func() bool { return f.now().After(expired) })
		return counts[taskEnqueued], len(overlapping)
	}
	if enqueued, _ := tick(0); enqueued != 3 {
		t.Fatalf("%d tasks were enqueued, want 3", enqueued)
	}
	if enqueued, overlap := tick(1); enqueued != 0 || overlap != 3 {
		t.Errorf("%d more were enqueued, %d skipped; want 0 and 3", enqueued, overlap)
	}
	for id := range f.recorder.ids[request{start.Unix(), "u1"}] {
		if err := asynq.NewInspectorFromRedisClient(f.redis.Client()).DeleteTask("reads", id); err != nil {
			t.Fatal(err)
		}
	}
	if enqueued, overlap := tick(2); enqueued != 1 || overlap != 2 {
		t.Errorf("%d were enqueued, %d skipped; want 1 and 2", enqueued, overlap)
	}
}
