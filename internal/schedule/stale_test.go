package schedule

import (
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/ledger"
)

// TestAFailedTaskIsNotAskedForAgain: whoever goes on with another's tick asks
// for its tasks once more. Those that have failed meanwhile are not enqueued
// again, although a producer's key is free after such an end.
func TestAFailedTaskIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.work(&clients.Error{Vendor: "anna", Kind: clients.Invalid, Message: "no such user"})
	newest := s.now().Truncate(time.Hour)
	s.set("p", "last", newest.Unix()-3600, "spec", "every 1h")
	dies := s.scheduler("a", hourly(t))
	dies.steps(t)
	for _, ids := range s.book.ids {
		for id := range ids {
			if r := s.record(id); r.Outcome != ledger.Invalid {
				t.Fatalf("%s ended %s", id, r.Outcome)
			}
		}
	}
	other := s.scheduler("b", hourly(t))
	resume(t, other, newest)
	if n, again := other.tasks("p", taskDuplicate), other.tasks("p", taskEnqueued); n != 3 || again != 0 {
		t.Errorf("%d tasks were known and %d enqueued again, want 3 and 0", n, again)
	}
}

// TestAWorkerThatWakesLate: one that was frozen in the middle of a tick, for so
// long that nobody remembers the tick's tasks, enqueues nothing.
func TestAWorkerThatWakesLate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// since is how long ago the tick was due.
		since    time.Duration
		enqueued int
	}{
		{"in time", 0, 3},
		{"while its keys are remembered for sure", slack - time.Minute, 3},
		{"too late", slack + time.Minute, 0},
		{"days later", 72 * time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			w := s.scheduler(
				"a",
				mustLoad(
					t,
					write(
						t,
						map[string]string{
							"s.yaml": entry("name: p", "every: 1s", "type: anna:messenger:alerts", users(3)),
						},
					),
				),
			)
			slot := s.now().Add(-test.since).Truncate(time.Second)
			resume(t, w, slot)
			if n := w.tasks("p", taskEnqueued); n != test.enqueued {
				t.Errorf("%d tasks were enqueued, want %d", n, test.enqueued)
			}
			last, err := LastTick(t.Context(), s.redis.Client(), "p")
			if err != nil || (test.enqueued == 0) != last.Last.IsZero() {
				t.Errorf("the last tick is %v, %v", last.Last, err)
			}
		})
	}
}

// resume lets a worker enqueue a tick as one that has just been given it.
func resume(t *testing.T, w *worker, slot time.Time) {
	t.Helper()
	g := grant{verdict: resumed, begun: slot, after: time.Hour}
	if err := newRunner(w.Scheduler, w.file.Schedules[0]).tick(t.Context(), slot, g); err != nil {
		t.Fatal(err)
	}
}
