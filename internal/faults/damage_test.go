package faults

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Redis loses the leases of running tasks. asynq takes such a task off its
// active list before it notices and stops halfway, so the task would be nowhere:
// neither done nor to be tried again.
func TestLostLeases(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		// fails is how many calls of each kind the vendor turns away.
		fails int
		end   func(c *crew)
	}{
		{name: "the calls succeed"},
		{name: "the calls fail and are tried again", fails: 6},
		{name: "the worker dies", end: func(c *crew) { c.workers[0].Kill() }},
		{name: "the worker is stopped", end: func(c *crew) { c.workers[0].Terminate() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, fleet.Options{})
			c.hire(1)
			c.warmUp()
			c.failNext(tc.fails)
			calls := c.hold(false)
			defer calls.release()
			const n = 6
			c.underWay(n)
			if tc.end != nil {
				c.hire(1)
			}
			c.forgetLeases()
			if tc.end != nil {
				tc.end(c)
			}
			calls.release()
			c.finish(2*time.Minute, tasks.Done, tasks.Unknown)
			c.StopAll()
		})
	}
}

// failNext has the vendor turn away the next n inactivations and reads.
func (c *crew) failNext(n int) {
	if n > 0 {
		c.AnnA.Inject(sandbox.Fault{Op: annatest.OpInactivate, Status: 503, Times: n})
		c.AnnA.Inject(sandbox.Fault{Op: annatest.OpAlerts, Status: 503, Times: n})
	}
}

// underWay enqueues n tasks of each kind and waits until the vendors have their
// calls, which must be held.
func (c *crew) underWay(n int) (ids []string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), soon)
	defer cancel()
	sends := c.OTP.Calls(danaconnecttest.OpSend)
	leaves := c.AnnA.Calls(annatest.OpInactivate)
	reads := c.AnnA.Calls(annatest.OpAlerts)
	ids = c.each(n)
	if err := errors.Join(
		c.OTP.WaitCalls(ctx, danaconnecttest.OpSend, sends+n),
		c.AnnA.WaitCalls(ctx, annatest.OpInactivate, leaves+n),
		c.AnnA.WaitCalls(ctx, annatest.OpAlerts, reads+n),
	); err != nil {
		c.t.Fatal(err)
	}
	return ids
}

func (c *crew) forgetLeases() {
	c.t.Helper()
	for _, name := range queues {
		if n := c.Conn().Del(c.t.Context(), "asynq:{"+name+"}:lease").Val(); n != 1 {
			c.t.Errorf("there were no leases of %s to forget", name)
		}
	}
}

// Tasks stand in asynq's active list, without a lease and with nobody working on
// them, as after a lost reply or a failover. asynq never looks at those.
func TestActiveWithoutLeaseOrOwner(t *testing.T) {
	t.Parallel()
	c := newCrew(t, fleet.Options{})
	c.each(5)
	ctx := t.Context()
	for _, name := range queues {
		base := "asynq:{" + name + "}:"
		for {
			id, err := c.Conn().RPopLPush(ctx, base+"pending", base+"active").Result()
			if errors.Is(err, redis.Nil) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Conn().HSet(ctx, base+"t:"+id, "state", "active")
		}
	}
	ids := c.all()
	c.hire(2)
	ready := time.Now()
	c.Wait(soon, ids)
	if took := time.Since(ready); took > recoverPatience {
		t.Errorf("they waited %v", took)
	} else {
		t.Logf("the last one was done %v after the workers were ready", took.Round(100*time.Millisecond))
	}
	c.finish(soon, tasks.Done)
	c.doneOnce(ids)
	c.StopAll()
}

// Redis has lost the record of a task in the queue. What must not happen twice
// ends unknown, for nobody knows whether it has happened; the rest is done.
func TestErasedWhileQueued(t *testing.T) {
	t.Parallel()
	c := newCrew(t, fleet.Options{})
	ids := c.each(5)
	c.erase(ids)
	c.hire(2)
	c.reborn(ids)
	report := c.finish(soon, tasks.Done, tasks.Unknown)
	if len(report.Unknown) != 5 || c.OTP.Effects(danaconnecttest.OpSend) != 0 {
		t.Errorf(
			"%d unknown, %d passcodes sent; want 5 and none",
			len(report.Unknown),
			c.OTP.Effects(danaconnecttest.OpSend),
		)
	}
	for _, id := range report.Unknown {
		if status, err := c.Client.Status(t.Context(), id); err != nil ||
			!strings.Contains(status.Message, "lost the task's record") {
			t.Errorf("%s: %v, %q does not say why", id, err, status.Message)
		}
	}
	c.StopAll()
}

// Redis loses the records of tasks while the vendors are being called. The
// worker knows what came of it, and says so.
func TestErasedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		// fails and failsAgain are how many calls of each kind the vendor turns
		// away, before and after the records are lost.
		fails, failsAgain int
		// copies: asynq's lease is lost as well, and another worker gets the task.
		copies bool
	}{
		{name: "the calls succeed"},
		{name: "the calls fail and are tried again", fails: 5},
		{name: "another worker gets them meanwhile", copies: true},
		{name: "another worker gets them meanwhile, whose calls fail", copies: true, failsAgain: 5},
		{name: "another worker gets them meanwhile, and the first one's calls fail", copies: true, fails: 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCrew(
				t,
				fleet.Options{
					Env: map[string]string{
						"ANNA_TIMEOUT":        "70s",
						"DANACONNECT_TIMEOUT": "70s",
						"SHUTDOWN_GRACE":      "76s",
					},
				},
			)
			c.hire(1)
			c.warmUp()
			c.failNext(tc.fails)
			calls := c.hold(false)
			defer calls.release()
			ids := c.underWay(5)
			c.erase(ids)
			c.failNext(tc.failsAgain)
			if tc.copies {
				c.hire(1)
				// The copies are put back because nobody claims them.
				c.await(soon, "another worker claims the tasks", func() bool {
					for _, id := range ids {
						if c.fence(id) == "" {
							return false
						}
					}
					return true
				})
			}
			calls.release()
			c.reborn(ids)
			want := []tasks.Outcome{tasks.Done}
			if tc.copies {
				want = append(want, tasks.Unknown)
			}
			c.finish(soon, want...)
			c.StopAll()
		})
	}
}

// erase deletes the records of tasks, as a failover does to those that were not
// replicated yet. Their keys stay.
func (c *crew) erase(ids []string) {
	c.t.Helper()
	for _, id := range ids {
		if n := c.Conn().Del(c.t.Context(), recordKey(id)).Val(); n != 1 {
			c.t.Fatalf("%s has no record to erase", id)
		}
	}
}

// reborn waits until there are records again: the worker that meets the task
// writes a new one.
func (c *crew) reborn(ids []string) {
	c.t.Helper()
	c.await(soon, "every task has a record again", func() bool {
		for _, id := range ids {
			if c.Conn().Exists(c.t.Context(), recordKey(id)).Val() == 0 {
				return false
			}
		}
		return true
	})
}
