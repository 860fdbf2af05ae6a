package faults

import (
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Workers are stopped one after the other as a deploy stops them, and new ones are
// started, with calls in progress all the time. Every task is done with its first and
// only call, and no attempt is spent.
func TestRollingRestarts(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	h := newHarness(t, fleet.Options{})
	h.kinds = append(h.kinds, h.Invoices)
	h.startWorkers(3)
	h.warmUp()
	h.injectEach(sandbox.Fault{Delay: 150 * time.Millisecond})
	stop := h.startLoad(40 * time.Millisecond)
	restarts := fleet.Size(6, 50)
	for range restarts {
		old := h.workers[0]
		h.workers = h.workers[1:]
		if r.IntN(2) == 0 {
			h.startWorkers(1) // before the old one stops
		} else {
			old.Terminate()
			h.startWorkers(1)
		}
		h.stopWorker(old)
	}
	stop()
	h.finish(waitLimit, tasks.Done)
	h.checkFirstCall(h.tasks())
	t.Logf("%d restarts", restarts)
	h.StopAll()
}

func (h *harness) stopWorker(w *workerProcess) {
	h.t.Helper()
	if code := w.Stop(); code != 0 {
		h.t.Errorf("%s ended with exit code %d", w.Name, code)
	}
}

// A worker freezes during its calls, is considered dead, and resumes when another
// worker has its tasks. Its results no longer count: passcodes stay unknown, and the
// other worker's attempts on the repeatable tasks are not disturbed, even if they
// have to be tried again.
func TestFrozenWorkerResumes(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{Env: fleet.Timeouts(70 * time.Second)})
	h.kinds = []*fleet.Kind{h.Passcodes, h.Updates}
	ctx := limitContext(t)
	frozen := h.startWorkers(1)[0]
	h.warmUp()
	const n = 4
	calls := h.hold()
	defer calls.release()
	before := h.calls()
	ids := h.enqueueEach(n)
	passcodes := h.ofKind(ids, h.Passcodes)
	h.waitCalls(ctx, before, n)
	frozen.Pause()
	second := h.Updates.Hold()
	defer second.Release()
	// The vendor refuses the second worker's calls, so that asynq has to keep the
	// tasks for a retry, whatever the first worker reports about them meanwhile.
	h.Updates.Inject(sandbox.Fault{Status: 503, Times: n})
	h.startWorkers(1)
	if err := h.Updates.WaitCalls(ctx, before[h.Updates]+2*n); err != nil {
		t.Fatal(err)
	}
	h.Wait(waitLimit, passcodes) // the second worker ends them without a call
	frozen.Resume()
	calls.release()
	// The first worker's calls have succeeded, and it has tried to report that.
	for _, id := range h.ofKind(ids, h.Updates) {
		if _, err := frozen.WaitLog(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	second.Release()
	report := h.finish(waitLimit, tasks.Done, tasks.Unknown)
	if len(report.Unknown) != n {
		t.Errorf("%d passcodes are unknown, want the %d of the frozen worker", len(report.Unknown), n)
	}
	h.StopAll()
}
