package faults

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// failNext makes the vendor refuse the next n calls of each repeatable kind.
func (h *harness) failNext(n int) {
	if n == 0 {
		return // a Fault without Times fails all calls
	}
	for _, kind := range h.repeatable() {
		kind.Inject(sandbox.Fault{Status: 503, Times: n})
	}
}

// enqueueHeld enqueues n tasks of each kind and waits until the vendors have their
// calls, which must be held.
func (h *harness) enqueueHeld(n int) (ids []string) {
	h.t.Helper()
	before := h.calls()
	ids = h.enqueueEach(n)
	h.waitCalls(limitContext(h.t), before, n)
	return ids
}

// Tasks are in asynq's active list without a worker, as after a lost reply or a failover.
// asynq never reads those.
func TestActiveTasksWithoutOwner(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{})
	ids := h.enqueueEach(5)
	ctx := t.Context()
	for _, name := range loadQueues {
		base := "asynq:{" + name + "}:"
		for {
			id, err := h.Conn().RPopLPush(ctx, base+"pending", base+"active").Result()
			if errors.Is(err, redis.Nil) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			h.Conn().HSet(ctx, base+"t:"+id, "state", "active")
		}
	}
	h.startWorkers(2)
	ready := time.Now()
	h.Wait(waitLimit, ids)
	took := time.Since(ready)
	t.Logf("the last one was done %v after the workers were ready", took.Round(100*time.Millisecond))
	if took > recoveryLimit {
		t.Errorf("the tasks waited %v, want at most %v", took, recoveryLimit)
	}
	h.finish(waitLimit, tasks.Done)
	h.checkFirstCall(ids)
	h.StopAll()
}

// Redis has lost the records of queued tasks. Those that must not run twice end
// unknown, because they may have run; the others are done.
func TestRecordsLostWhileQueued(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{})
	ids := h.enqueueEach(5)
	h.deleteRecords(ids)
	h.startWorkers(2)
	h.waitRecords(ids)
	report := h.finish(waitLimit, tasks.Done, tasks.Unknown)
	if len(report.Unknown) != 5 || h.Passcodes.Effects() != 0 {
		t.Errorf(
			"%d unknown, %d passcodes sent; want 5 and none",
			len(report.Unknown),
			h.Passcodes.Effects(),
		)
	}
	for _, id := range report.Unknown {
		if message := h.status(id).Message; !strings.Contains(message, "lost the task's record") {
			t.Errorf("the message of %s is %q, which does not name the cause", id, message)
		}
	}
	h.StopAll()
}

// Redis loses the records of tasks during their calls. The worker that made the call
// still reports its result.
func TestRecordsLostWhileRunning(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		// failures and laterFailures are how many calls of each repeatable kind the
		// vendor refuses, before and after the records are lost.
		failures      int
		laterFailures int
		// taken: another worker takes the task.
		taken bool
	}{
		{name: "the calls succeed"},
		{name: "the calls fail and are tried again", failures: 5},
		{name: "another worker takes them", taken: true},
		{name: "another worker takes them, and its calls fail", taken: true, laterFailures: 5},
		{name: "another worker takes them, and the first one's calls fail", taken: true, failures: 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, fleet.Options{Env: fleet.Timeouts(70 * time.Second)})
			h.startWorkers(1)
			h.warmUp()
			h.failNext(tc.failures)
			calls := h.hold()
			defer calls.release()
			ids := h.enqueueHeld(5)
			h.deleteRecords(ids)
			h.failNext(tc.laterFailures)
			if tc.taken {
				h.startWorkers(1)
				// The tasks are requeued because no worker claims them.
				h.waitClaimed(ids)
			}
			calls.release()
			h.waitRecords(ids)
			allowed := []tasks.Outcome{tasks.Done}
			if tc.taken {
				allowed = append(allowed, tasks.Unknown)
			}
			h.finish(waitLimit, allowed...)
			h.StopAll()
		})
	}
}

// waitClaimed waits until each task has been claimed.
func (h *harness) waitClaimed(ids []string) {
	h.t.Helper()
	testwait.Eventually(h.t, waitLimit, "another worker claims the tasks", func() bool {
		for _, id := range ids {
			fields, err := h.Conn().HMGet(h.t.Context(), fleet.RecordKey(id), "fence", "finished").Result()
			if err != nil || fields[0] == nil && fields[1] == nil {
				return false
			}
		}
		return true
	})
}

// deleteRecords deletes the records of tasks, as a failover loses those that were
// not replicated. Their keys remain.
func (h *harness) deleteRecords(ids []string) {
	h.t.Helper()
	for _, id := range ids {
		if n := h.Conn().Del(h.t.Context(), fleet.RecordKey(id)).Val(); n != 1 {
			h.t.Fatalf("%s has no record to delete", id)
		}
	}
}

// waitRecords waits until each task has a record again: the worker that takes the
// task writes a new one.
func (h *harness) waitRecords(ids []string) {
	h.t.Helper()
	testwait.Eventually(h.t, waitLimit, "every task has a record again", func() bool {
		for _, id := range ids {
			if h.Conn().Exists(h.t.Context(), fleet.RecordKey(id)).Val() == 0 {
				return false
			}
		}
		return true
	})
}
