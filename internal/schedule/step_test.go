package schedule

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/ledger"
)

// hourly is a schedule of three subjects whose slots are hours, so that a test
// decides by the marks in Redis what is due.
func hourly(t *testing.T, more ...string) *File {
	t.Helper()
	return mustLoad(
		t,
		write(
			t,
			map[string]string{
				"s.yaml": entry(
					append([]string{"name: p", "every: 1h", "type: anna:messenger:alerts", users(3)}, more...)...),
			},
		),
	)
}

// steps lets a runner do what is due now, and nothing more.
func (w *worker) steps(t *testing.T) {
	t.Helper()
	w.stepsOf(t, newRunner(w.Scheduler, w.file.Schedules[0]))
}

func (w *worker) stepsOf(t *testing.T, r *runner) {
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
	t.Fatal("the runner does not come to rest")
}

// slots are those of which something was enqueued.
func (b *book) slots() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []int64
	for slot := range b.counts {
		all = append(all, slot)
	}
	slices.Sort(all)
	return all
}

// TestWhatIsDue looks at what one worker does about the marks that it finds.
func TestWhatIsDue(t *testing.T) {
	t.Parallel()
	const hour = 3600
	tests := []struct {
		name string
		// marks gets the newest slot.
		marks func(newest int64) []any
		// ticks are the slots enqueued, in hours before the newest.
		ticks                                 []int64
		enqueued, late, missed, failed, tasks int
	}{
		{name: "never seen", marks: func(int64) []any { return nil }},
		{name: "up to date", marks: func(n int64) []any { return []any{"last", n, "spec", "every 1h"} }},
		{
			name:  "one missed",
			marks: func(n int64) []any { return []any{"last", n - hour, "spec", "every 1h"} },
			ticks: []int64{0},
			late:  1,
			tasks: 3,
		},
		{
			name:   "many missed",
			marks:  func(n int64) []any { return []any{"last", n - 30*hour, "spec", "every 1h"} },
			ticks:  []int64{0},
			late:   1,
			missed: 29,
			tasks:  3,
		},
		{
			name:  "another timing than before",
			marks: func(n int64) []any { return []any{"last", n - 30*hour, "spec", "every 2h"} },
		},
		{name: "taken out and put back", marks: func(n int64) []any { return []any{"last", n - 30*hour, "spec", ""} }},
		{
			name:  "a clock that was set back",
			marks: func(n int64) []any { return []any{"last", n + 30*hour, "spec", "every 1h"} },
		},
		{
			name: "the newest was begun by somebody who died",
			marks: func(n int64) []any {
				return []any{
					"last",
					n - hour,
					"spec",
					"every 1h",
					"slot",
					n,
					"owner",
					"x",
					"until",
					1,
					"begun",
					n*1000 + 5,
					"done",
					0,
					"digest",
					"other",
				}
			},
			ticks:    []int64{0},
			enqueued: 1,
			tasks:    3,
		},
		{
			name: "an old one was begun by somebody who died",
			marks: func(n int64) []any {
				return []any{
					"last",
					n - 3*hour,
					"spec",
					"every 1h",
					"slot",
					n - 2*hour,
					"owner",
					"x",
					"until",
					1,
					"begun",
					1,
					"done",
					0,
					"digest",
					"other",
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
			s := newSite(t)
			newest := s.now().Truncate(time.Hour).Unix()
			if marks := test.marks(newest); marks != nil {
				s.set("p", marks...)
			}
			w := s.scheduler("a", hourly(t))
			w.steps(t)
			if now := s.now().Truncate(time.Hour).Unix(); now != newest {
				t.Logf("the hour has changed in between; nothing to be seen")
				return
			}
			var got []int64
			for _, slot := range s.book.slots() {
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
			// Whatever was to be done is done: another worker finds nothing.
			b := s.scheduler("b", hourly(t))
			b.steps(t)
			if n := b.ticks("p", tickEnqueued) + b.ticks("p", tickLate) + b.ticks("p", tickMissed); n != 0 {
				t.Errorf("another worker did something about %d ticks", n)
			}
		})
	}
}

// TestHeldSlot: while somebody's lease lasts nobody else does anything, and a
// slot that is given back is gone on with where it was.
func TestHeldSlot(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	file := hourly(t)
	newest := s.now().Truncate(time.Hour).Unix()
	s.set(
		"p",
		"last",
		newest-3600,
		"spec",
		"every 1h",
		"slot",
		newest,
		"owner",
		"x",
		"until",
		s.now().Add(time.Hour).UnixMilli(),
		"begun",
		newest*1000+5,
		"done",
		2,
		"digest",
		file.Schedules[0].digest,
	)
	w := s.scheduler("a", file)
	r := newRunner(w.Scheduler, file.Schedules[0])
	if wait, err := r.step(t.Context()); err != nil || wait < 500*time.Millisecond || wait > 2*time.Second {
		t.Errorf("step = %s, %v; want to wait about as long as a lease", wait, err)
	}
	if got := s.book.slots(); got != nil {
		t.Fatalf("enqueued %v while somebody else did", got)
	}
	r.marks.release(t.Context(), "y") // not its own
	w.stepsHeld(t, r)
	r.marks.release(t.Context(), "x")
	w.stepsOf(t, r)
	if n := w.tasks("p", taskEnqueued); n != 1 {
		t.Errorf("%d tasks were enqueued, want the one that was missing", n)
	}
}

func (w *worker) stepsHeld(t *testing.T, r *runner) {
	t.Helper()
	if wait, err := r.step(t.Context()); err != nil || wait <= 0 {
		t.Errorf("step = %s, %v; want to wait", wait, err)
	}
}

// TestStopGivesBack: a worker that stops in the middle of a tick leaves it to
// another at once.
func TestStopGivesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	file := mustLoad(
		t,
		write(
			t,
			map[string]string{"s.yaml": entry("name: p", "every: 1h", "type: anna:messenger:alerts", users(3*chunk))},
		),
	)
	newest := s.now().Truncate(time.Hour).Unix()
	s.set("p", "last", newest-3600, "spec", "every 1h")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.book.before = func(name string, _ ask, nth int) {
		if name == "a" && nth == chunk+chunk/2 {
			cancel()
		}
	}
	a := s.scheduler("a", file)
	r := newRunner(a.Scheduler, file.Schedules[0])
	if _, err := r.step(ctx); err == nil {
		t.Fatal("the tick was not cut")
	}
	b := s.scheduler("b", file)
	b.steps(t)
	if n := b.tasks("p", taskEnqueued) + b.tasks("p", taskDuplicate); n != 2*chunk {
		t.Errorf("the other asked for %d tasks, want those of the two chunks that were not whole", n)
	}
	if n := a.tasks("p", taskEnqueued) + b.tasks("p", taskEnqueued); n > 3*chunk {
		t.Errorf("%d tasks were counted, there are %d", n, 3*chunk)
	}
	if n := s.book.counts[newest]; n != 3*chunk {
		t.Errorf("%d tasks were enqueued, want %d", n, 3*chunk)
	}
	for a, ids := range s.book.ids {
		if len(ids) != 1 {
			t.Errorf("%v was enqueued %d times", a, len(ids))
		}
	}
}

// TestOverlap: while a subject's task is under way its next one is skipped, and
// however that one ends, the one after is enqueued.
func TestOverlap(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.scheduler("a", hourly(t))
	newest := s.now().Truncate(time.Hour).Unix()
	s.set("p", "last", newest-3600, "spec", "every 1h")
	w.steps(t)
	first := map[string]string{}
	for a, ids := range s.book.ids {
		for id := range ids {
			first[a.subject] = id
		}
	}
	if len(first) != 3 {
		t.Fatalf("tasks = %v", first)
	}
	end := func(subject string, outcome ledger.Outcome) {
		id := first[subject]
		g, err := s.store.Begin(t.Context(), ledger.Claim{
			ID:      id,
			Type:    "anna:messenger:alerts",
			Owner:   "w",
			For:     time.Minute,
			Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.store.Finish(t.Context(), id, g, ledger.Result{State: ledger.Ended, Outcome: outcome, Keep: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	end("u1", ledger.Failed)
	end("u2", ledger.Unknown)
	// The next tick, before its time, because no hour passes here.
	slot := time.Unix(newest+3600, 0)
	g := grant{verdict: resumed, begun: slot, after: time.Hour}
	if err := newRunner(w.Scheduler, w.file.Schedules[0]).tick(t.Context(), slot, g); err != nil {
		t.Fatal(err)
	}
	if n := w.tasks("p", taskOverlap); n != 1 {
		t.Errorf("%d tasks were skipped, want the one whose subject's is under way", n)
	}
	for subject, want := range map[string]int{"u0": 0, "u1": 1, "u2": 1} {
		if got := len(s.book.ids[ask{newest + 3600, subject}]); got != want {
			t.Errorf("%s was enqueued %d times at the next tick, want %d", subject, got, want)
		}
	}
}

// TestRunNow enqueues a tick by hand; asked twice in a second it does so once.
func TestRunNow(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := newSite(t)
		w := s.scheduler("a", hourly(t))
		first, err := RunNow(t.Context(), w.file.Schedules[0], w.redis, w.page)
		if err != nil || first != (Ran{Enqueued: 3}) {
			t.Fatalf("first = %+v, %v", first, err)
		}
		second, err := RunNow(t.Context(), w.file.Schedules[0], w.redis, w.page)
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
	s := newSite(t)
	if tick, err := LastTick(t.Context(), s.redis.Client(), "p"); err != nil || !tick.Last.IsZero() {
		t.Errorf("of an unknown schedule: %+v, %v", tick, err)
	}
	w := s.scheduler("a", hourly(t))
	w.steps(t)
	if tick, err := LastTick(t.Context(), s.redis.Client(), "p"); err != nil || !tick.Last.IsZero() {
		t.Errorf("of a new schedule: %+v, %v", tick, err)
	}
	newest := s.now().Truncate(time.Hour)
	s.set("p", "last", newest.Unix()-3600)
	w.steps(t)
	tick, err := LastTick(t.Context(), s.redis.Client(), "p")
	if err != nil || !tick.Last.Equal(newest) || s.now().Sub(tick.Finished) > time.Minute {
		t.Errorf("after a tick: %+v, %v; want %s", tick, err, newest)
	}
}

// TestAQueueThatNobodyRunsDoesNotFill: it holds one task for each subject,
// however long it rests. But a task that never got there, because its producer
// died at the wrong moment, stops the next one for its own time only.
func TestAQueueThatNobodyRunsDoesNotFill(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.scheduler("a", hourly(t))
	start := s.now().Truncate(time.Hour)
	tick := func(n int) (enqueued, overlap int) {
		t.Helper()
		slot := start.Add(time.Duration(n) * time.Hour)
		b := newBatch(w.file.Schedules[0], w.to, w.slots, slot, start)
		b.usable = time.Millisecond
		counts, overlapped, err := b.run(t.Context(), 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		for end := s.now().Add(5 * time.Millisecond); s.now().Before(end); { // its time is up
		}
		return counts[taskEnqueued], len(overlapped)
	}
	if enqueued, _ := tick(0); enqueued != 3 {
		t.Fatalf("%d tasks were enqueued, want 3", enqueued)
	}
	if enqueued, overlap := tick(1); enqueued != 0 || overlap != 3 {
		t.Errorf("%d more were enqueued, %d skipped; want 0 and 3", enqueued, overlap)
	}
	for id := range s.book.ids[ask{start.Unix(), "u1"}] {
		if err := asynq.NewInspectorFromRedisClient(s.redis.Client()).DeleteTask("polls", id); err != nil {
			t.Fatal(err)
		}
	}
	if enqueued, overlap := tick(2); enqueued != 1 || overlap != 2 {
		t.Errorf("%d were enqueued, %d skipped; want 1 and 2", enqueued, overlap)
	}
}
