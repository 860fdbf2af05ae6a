package faults

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// durable returns options with a Redis that loses nothing it has confirmed.
func durable() fleet.Options {
	return fleet.Options{Redis: []redistest.Option{redistest.AOF("always")}}
}

// Redis freezes for longer than its clients wait, with tasks at every step. The
// workers live, so every task is done.
func TestRedisFreezes(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{})
	h.kinds = append(h.kinds, h.Invoices)
	h.startWorkers(3)
	h.warmUp()
	h.injectEach(sandbox.Fault{Delay: 100 * time.Millisecond})
	stop := h.startLoad(20 * time.Millisecond)
	for range fleet.Size(1, 5) {
		h.waitBusy(50)
		h.Redis.Pause()
		fleet.Elapse(t, 15*time.Second)
		h.Redis.Resume()
	}
	h.waitBusy(50) // producers and workers recover by themselves
	stop()
	h.finish(waitLimit, tasks.Done)
	h.StopAll()
}

// waitBusy waits until the vendors have had n more calls of each kind.
func (h *harness) waitBusy(n int) {
	h.t.Helper()
	h.waitCalls(limitContext(h.t), h.calls(), n)
}

// Redis is stopped, or crashes, under load and returns with the content of its
// append-only file, which with appendfsync always is complete. A passcode that was not
// sent in its time, because the workers hold such calls back after each restart,
// expires.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	h := newHarness(t, durable())
	h.kinds = append(h.kinds, h.Invoices)
	h.startWorkers(3)
	h.warmUp()
	stop := h.startLoad(20 * time.Millisecond)
	for i := range fleet.Size(2, 20) {
		h.waitBusy(20)
		if i%2 == 0 {
			h.Redis.Kill()
		} else {
			h.Redis.Stop()
		}
		fleet.Elapse(t, 2*time.Second)
		h.Redis.Start()
	}
	h.waitBusy(20)
	stop()
	h.finish(waitLimit, tasks.Done, tasks.Expired)
	h.StopAll()
}

// Redis returns with the state of a moment ago, as from an append-only file that is
// written every second, or as a promoted replica: passcodes that are being sent, or
// were sent, are pending again. The workers replay their recent claims, and no
// passcode is sent again. An old master may go on for a while after the promotion,
// until the sentinels have told of it.
func TestRedisLosesTheLastWrites(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		held bool // the vendor has sent the codes and has not answered yet
		late time.Duration
	}{
		{name: "sent"},
		{name: "sent some time ago", late: 10 * time.Second},
		{name: "being sent", held: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, fleet.Options{})
			h.startWorkers(3)
			h.warmUp()
			ctx := limitContext(t)
			const n = 20 // fewer than the slots of three workers
			before := h.Passcodes.Effects()
			release := func() {}
			if tc.held {
				release = h.Passcodes.HoldAnswer().Release
			}
			defer release()
			const paused = "asynq:{otp}:paused" // asynq's switch
			h.Conn().Set(ctx, paused, 1, 0)
			ids := h.EnqueueMany(n, h.Passcodes)
			if err := h.Conn().Save(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			h.Conn().Del(ctx, paused)
			if err := h.Passcodes.WaitEffects(ctx, before+n); err != nil {
				t.Fatal(err)
			}
			if !tc.held {
				h.Wait(waitLimit, ids)
			}
			fleet.Elapse(t, tc.late)
			h.Redis.Kill()
			h.Redis.Start()
			switch status := h.status(ids[0]); status.State {
			case tasks.Pending, tasks.Running:
			default:
				t.Fatalf("Redis has lost nothing: the task is %s", status.State)
			}
			h.Conn().Del(ctx, paused)
			// The tasks are taken before the vendor has answered.
			testwait.Eventually(t, waitLimit, "the tasks are taken again", func() bool {
				return h.Conn().LLen(ctx, "asynq:{otp}:pending").Val() == 0
			})
			release()
			h.finish(waitLimit, tasks.Done)
			h.StopAll()
		})
	}
}

// Redis is down for longer than a claim is valid. Calls in progress end meanwhile,
// and their results are not lost.
func TestRedisIsDownForLong(t *testing.T) {
	t.Parallel()
	down := fleet.Size(20*time.Second, 10*time.Minute)
	o := durable()
	o.Env = fleet.Timeouts(8 * time.Second) // a claim is valid for 16 s
	h := newHarness(t, o)
	h.startWorkers(2)
	h.warmUp()
	h.finish(waitLimit, tasks.Done)
	h.skip() // their results may expire while Redis is down
	running := h.enqueueAnswered(8)
	h.enqueueEach(30)
	h.Redis.Stop()
	running.answers.release()
	fleet.Elapse(t, down)
	h.Redis.Start()
	start := time.Now()
	h.Wait(waitLimit, running.ids)
	t.Logf(
		"the tasks with calls in progress ended %v after Redis returned, which was down for %v",
		time.Since(start).Round(100*time.Millisecond),
		down,
	)
	for _, id := range running.ids {
		if status := h.status(id); status.Outcome != tasks.Done || status.Attempts != 1 {
			t.Errorf(
				"%s was answered while Redis was down: %s",
				id,
				h.examples([]string{id}, status.Outcome),
			)
		}
	}
	h.enqueueEach(10)
	allowed := []tasks.Outcome{tasks.Done}
	if down > 2*time.Minute {
		allowed = append(allowed, tasks.Expired) // a passcode is not sent that late
	}
	h.finish(waitLimit, allowed...)
	h.StopAll()
}

// answeredCalls are tasks on which the vendors have acted, with their answers held.
type answeredCalls struct {
	ids     []string
	answers gates
}

// enqueueAnswered enqueues n passcodes and n updates, and waits until the vendors
// have acted on them. Their answers are held, also when the test ends early.
func (h *harness) enqueueAnswered(n int) answeredCalls {
	h.t.Helper()
	ctx := limitContext(h.t)
	kinds := []*fleet.Kind{h.Passcodes, h.Updates}
	before := map[*fleet.Kind]int{}
	for _, kind := range kinds {
		before[kind] = kind.Effects()
	}
	running := answeredCalls{answers: h.holdAnswers()}
	h.t.Cleanup(running.answers.release)
	for _, kind := range kinds {
		running.ids = append(running.ids, h.EnqueueMany(n, kind)...)
	}
	for _, kind := range kinds {
		if err := kind.WaitEffects(ctx, before[kind]+n); err != nil {
			h.t.Fatal(err)
		}
	}
	return running
}

// A worker that is stopped while Redis is unavailable exits in time with code 0, and
// the claims tell what it could not write.
func TestStopWhileRedisIsFrozen(t *testing.T) {
	t.Parallel()
	const grace = 20 * time.Second
	o := durable()
	o.Env = map[string]string{"SHUTDOWN_GRACE": grace.String()}
	h := newHarness(t, o)
	h.startWorkers(2)
	h.warmUp()
	const n = 4
	running := h.enqueueAnswered(n)
	h.EnqueueMany(n, h.Reads)
	h.Redis.Pause()
	running.answers.release()
	began := time.Now()
	h.StopProcesses()
	took := time.Since(began).Round(100 * time.Millisecond)
	t.Logf("the workers ended %v after SIGTERM", took)
	if limit := grace + 15*time.Second; took > limit {
		t.Errorf("the workers took %v to end, want at most %v", took, limit)
	}
	h.Redis.Resume()
	h.workers = nil
	h.startWorkers(2)
	report := h.finish(waitLimit, tasks.Done, tasks.Unknown)
	if len(report.Unknown) > n {
		t.Errorf("%d tasks are unknown, although only %d passcodes were running", len(report.Unknown), n)
	}
	for _, id := range report.Unknown {
		if message := h.status(id).Message; !strings.Contains(message, "died") {
			t.Errorf("%s: %q", id, message)
		}
	}
	h.StopAll()
}
