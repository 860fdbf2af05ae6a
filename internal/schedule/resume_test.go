package schedule

import (
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/record"
)

// A worker that resumes the tick of another requests its tasks again. Those that
// have failed meanwhile are not enqueued again, although a producer's key is free
// after such an end.
func TestResumedTickDoesNotRepeatFailedTasks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.startWorker(&clients.Error{Vendor: "shop", Kind: clients.Invalid, Message: "no such item"})
	newest := f.now().Truncate(time.Hour)
	f.setState("p", "last", newest.Unix()-3600, "spec", "every 1h")
	dies := f.scheduler("a", hourly(t))
	dies.runDue(t)
	for _, ids := range f.recorder.ids {
		for id := range ids {
			if r := f.waitEnded(id); r.Outcome != record.Invalid {
				t.Fatalf("%s ended %s", id, r.Outcome)
			}
		}
	}
	other := f.scheduler("b", hourly(t))
	resume(t, other, newest)
	if duplicates, repeated := other.tasks("p", taskDuplicate), other.tasks("p", taskEnqueued); duplicates != 3 || repeated != 0 {
		t.Errorf("%d tasks were duplicates and %d enqueued again, want 3 and 0", duplicates, repeated)
	}
}

// A worker that was frozen in the middle of a tick for so long that Redis has
// forgotten the keys of the tick's tasks enqueues nothing.
func TestWorkerResumingTooLateEnqueuesNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// since is how long ago the tick was due.
		since    time.Duration
		enqueued int
	}{
		{"in time", 0, 3},
		{"while Redis certainly remembers its keys", lateMargin - time.Minute, 3},
		{"too late", lateMargin + time.Minute, 0},
		{"days later", 72 * time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			file := loadOne(t, "name: p", "every: 1s", "type: shop:stock:read", items(3))
			w := f.scheduler("a", file)
			slot := f.now().Add(-test.since).Truncate(time.Second)
			resume(t, w, slot)
			if n := w.tasks("p", taskEnqueued); n != test.enqueued {
				t.Errorf("%d tasks were enqueued, want %d", n, test.enqueued)
			}
			last, err := LastTick(t.Context(), f.redis.Client(), "p")
			if err != nil || (test.enqueued == 0) != last.Last.IsZero() {
				t.Errorf("the last tick is %v, %v", last.Last, err)
			}
		})
	}
}

// resume makes a scheduler enqueue a tick as if it had just got the lease.
func resume(t *testing.T, w *testScheduler, slot time.Time) {
	t.Helper()
	l := lease{status: slotResumed, begun: slot, gap: time.Hour}
	if err := newRunner(w.Scheduler, w.file.Schedules[0]).tick(t.Context(), slot, l); err != nil {
		t.Fatal(err)
	}
}
