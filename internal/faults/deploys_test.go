package faults

import (
	"context"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Workers are stopped one after the other as a deploy stops them, and new ones
// started, while calls are under way all the time. Nobody notices: every task is
// done with its first and only call, and no attempt is spent.
func TestRollingRestarts(t *testing.T) {
	t.Parallel()
	d := dice(t)
	c := newCrew(t, fleet.Options{})
	c.hire(3)
	c.warmUp()
	slow := 150 * time.Millisecond
	c.OTP.Inject(sandbox.Fault{Delay: slow})
	c.AnnA.Inject(sandbox.Fault{Delay: slow})
	stop := c.load(40 * time.Millisecond)
	n := fleet.Size(6, 50)
	for range n {
		old := c.workers[0]
		c.workers = c.workers[1:]
		if d.IntN(2) == 0 { // the new one comes first, or after the old one
			c.hire(1)
			c.mustStop(old)
		} else {
			old.Terminate()
			c.hire(1)
			c.mustStop(old)
		}
	}
	stop()
	c.finish(soon, tasks.Done)
	c.doneOnce(c.all())
	t.Logf("%d restarts", n)
	c.StopAll()
}

func (c *crew) mustStop(w *worker) {
	c.t.Helper()
	if code := w.Stop(); code != 0 {
		c.t.Errorf("%s ended with exit code %d", w.Name, code)
	}
}

// A worker freezes in the midst of its calls, is taken for dead, and wakes when
// another has its tasks. Its word no longer counts: passcodes stay unknown, and
// what the other does with the rest is not disturbed, also if that has to be
// tried again.
func TestAFrozenWorkerWakes(t *testing.T) {
	t.Parallel()
	c := newCrew(
		t,
		fleet.Options{
			Env: map[string]string{"ANNA_TIMEOUT": "70s", "DANACONNECT_TIMEOUT": "70s", "SHUTDOWN_GRACE": "76s"},
		},
	)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	frozen := c.hire(1)[0]
	c.warmUp()
	const n = 4
	had := c.OTP.Calls(danaconnecttest.OpSend)
	calls := c.hold(false)
	defer calls.release()
	var sends []string
	for range n {
		sends = append(sends, c.send())
		c.leave()
	}
	wait := func(n int) {
		t.Helper()
		if err := c.AnnA.WaitCalls(ctx, annatest.OpInactivate, n); err != nil {
			t.Fatal(err)
		}
	}
	wait(n)
	if err := c.OTP.WaitCalls(ctx, danaconnecttest.OpSend, had+n); err != nil {
		t.Fatal(err)
	}
	frozen.Pause()
	second := c.AnnA.Hold(annatest.OpInactivate)
	defer second.Release()
	// The vendor fails when the second worker asks, so that asynq has to keep the
	// task for later, whatever the first one says of it meanwhile.
	c.AnnA.Inject(sandbox.Fault{Op: annatest.OpInactivate, Status: 503, Times: n})
	c.hire(1)
	wait(2 * n)
	c.Wait(soon, sends) // the second worker has ruled on what it cannot repeat
	frozen.Resume()
	calls.release()
	// The first one's calls have succeeded, and it has said so to whom it could.
	for _, id := range c.all() {
		if id[:5] == "anna-" {
			if _, err := frozen.WaitLog(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	second.Release()
	report := c.finish(soon, tasks.Done, tasks.Unknown)
	if len(report.Unknown) != n {
		t.Errorf("%d passcodes are unknown, want the %d of the frozen worker", len(report.Unknown), n)
	}
	c.StopAll()
}
