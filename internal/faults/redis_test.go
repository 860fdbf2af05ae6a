package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

// durable is the Redis that loses nothing it has confirmed.
func durable() fleet.Options {
	return fleet.Options{Redis: []redistest.Option{redistest.AOF("always")}}
}

// Redis stands still for longer than its clients wait, every so often, while
// every step of a task is being taken. The workers live, so every task is done.
func TestRedisFreezes(t *testing.T) {
	t.Parallel()
	c := newCrew(t, fleet.Options{})
	c.hire(3)
	c.warmUp()
	delay := 100 * time.Millisecond
	c.OTP.Inject(sandbox.Fault{Delay: delay})
	c.AnnA.Inject(sandbox.Fault{Delay: delay})
	stop := c.load(20 * time.Millisecond)
	for range fleet.Size(1, 5) {
		c.busy(50)
		c.Redis.Pause()
		<-time.After(15 * time.Second)
		c.Redis.Resume()
	}
	c.busy(50) // producers and workers go on by themselves
	stop()
	c.finish(soon, tasks.Done)
	c.StopAll()
}

// busy waits until the vendors have had n more calls of each kind.
func (c *crew) busy(n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), soon)
	defer cancel()
	if err := c.OTP.WaitCalls(ctx, danaconnecttest.OpSend, c.OTP.Calls(danaconnecttest.OpSend)+n); err != nil {
		c.t.Fatal(err)
	}
	for _, op := range []string{annatest.OpInactivate, annatest.OpAlerts} {
		if err := c.AnnA.WaitCalls(ctx, op, c.AnnA.Calls(op)+n); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Redis is stopped, or crashes, in the midst of everything and comes back with
// what its append-only file holds, which with appendfsync always is everything.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	c := newCrew(t, durable())
	c.hire(3)
	c.warmUp()
	stop := c.load(20 * time.Millisecond)
	for i := range fleet.Size(2, 20) {
		c.busy(20)
		if i%2 == 0 {
			c.Redis.Kill()
		} else {
			c.Redis.Stop()
		}
		<-time.After(2 * time.Second)
		c.Redis.Start()
	}
	c.busy(20)
	stop()
	c.finish(soon, tasks.Done)
	c.StopAll()
}

// Redis comes back as it was a moment ago, as from an append-only file that is
// written every second, or as a replica that takes over: passcodes that are on
// their way, or were sent, are pending once more. The workers tell it what they
// know, and none is sent again.
func TestRedisForgetsTheLastMoment(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		held bool // the vendor has sent the codes and has not answered yet
	}{
		{name: "sent"},
		{name: "on the way", held: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, fleet.Options{})
			c.hire(3)
			c.warmUp()
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			const n = 20 // the slots of three workers
			had := c.OTP.Effects(danaconnecttest.OpSend)
			release := func() {}
			if tc.held {
				release = c.OTP.HoldAnswer(danaconnecttest.OpSend).Release
			}
			defer release()
			const paused = "asynq:{otp}:paused" // asynq's own switch
			c.Conn().Set(ctx, paused, 1, 0)
			ids := c.Many(n, c.send)
			if err := c.Conn().Save(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			c.Conn().Del(ctx, paused)
			if err := c.OTP.WaitEffects(ctx, danaconnecttest.OpSend, had+n); err != nil {
				t.Fatal(err)
			}
			if !tc.held {
				c.Wait(soon, ids)
			}
			c.Redis.Kill()
			c.Redis.Start()
			if state := c.Conn().HGet(ctx, recordKey(ids[0]), "state").Val(); state != "pending" && state != "running" {
				t.Fatalf("Redis has forgotten nothing: %s", state)
			}
			c.Conn().Del(ctx, paused)
			// The queue goes on before the vendor has answered.
			c.await(
				soon,
				"the tasks are taken again",
				func() bool { return c.Conn().LLen(ctx, "asynq:{otp}:pending").Val() == 0 },
			)
			release()
			c.finish(soon, tasks.Done)
			c.StopAll()
		})
	}
}

// Redis is away for longer than a claim stands. Calls that were under way have
// been answered meanwhile; what they did is not forgotten.
func TestRedisIsAwayForLong(t *testing.T) {
	t.Parallel()
	away := fleet.Size(20*time.Second, 10*time.Minute)
	o := durable()
	o.Env = map[string]string{"ANNA_TIMEOUT": "8s", "DANACONNECT_TIMEOUT": "8s"} // a claim stands for 16 s
	c := newCrew(t, o)
	c.hire(2)
	c.warmUp()
	c.finish(soon, tasks.Done)
	c.forget() // the results of polls are not kept for as long as Redis will be away
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	const n = 8
	had := c.OTP.Effects(danaconnecttest.OpSend)
	answers := c.hold(true)
	defer answers.release()
	var underWay []string
	for range n {
		underWay = append(underWay, c.send(), c.leave())
	}
	if err := c.OTP.WaitEffects(ctx, danaconnecttest.OpSend, had+n); err != nil {
		t.Fatal(err)
	}
	if err := c.AnnA.WaitEffects(ctx, annatest.OpInactivate, n); err != nil {
		t.Fatal(err)
	}
	c.each(30)
	c.Redis.Stop()
	answers.release()
	<-time.After(away)
	c.Redis.Start()
	start := time.Now()
	c.Wait(soon, underWay)
	t.Logf(
		"what was under way had ended %v after Redis came back, after %v",
		time.Since(start).Round(100*time.Millisecond),
		away,
	)
	for _, id := range underWay {
		status, err := c.Client.Status(t.Context(), id)
		if err != nil || status.Outcome != tasks.Done || status.Attempts != 1 {
			t.Errorf("%s was answered while Redis was away: %v, %s", id, err, c.examples([]string{id}, status.Outcome))
		}
	}
	c.each(10)
	want := []tasks.Outcome{tasks.Done}
	if away > 2*time.Minute {
		want = append(want, tasks.Expired) // a passcode is not sent that late
	}
	c.finish(soon, want...)
	c.StopAll()
}

// A worker is stopped while Redis is away: it ends in good time and order, and
// what it could not write the claim tells.
func TestStoppedWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	const grace = 20 * time.Second
	o := durable()
	o.Env = map[string]string{"SHUTDOWN_GRACE": grace.String()}
	c := newCrew(t, o)
	c.hire(2)
	c.warmUp()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	const n = 4
	had := c.OTP.Effects(danaconnecttest.OpSend)
	answers := c.hold(true)
	defer answers.release()
	for range n {
		c.send()
		c.leave()
		c.read()
	}
	if err := c.OTP.WaitEffects(ctx, danaconnecttest.OpSend, had+n); err != nil {
		t.Fatal(err)
	}
	c.Redis.Pause()
	answers.release()
	began := time.Now()
	c.StopAll()
	took := time.Since(began).Round(100 * time.Millisecond)
	t.Logf("the workers ended %v after SIGTERM", took)
	if most := grace + 15*time.Second; took > most {
		t.Errorf("the workers took %v to end, want %v at most", took, most)
	}
	c.Redis.Resume()
	c.workers = nil
	c.hire(2)
	report := c.finish(soon, tasks.Done, tasks.Unknown)
	if len(report.Unknown) > n {
		t.Errorf("%d tasks are unknown, and only %d passcodes were under way", len(report.Unknown), n)
	}
	for _, id := range report.Unknown {
		if status, err := c.Client.Status(ctx, id); err != nil || !strings.Contains(status.Message, "died") {
			t.Errorf("%s: %v %q", id, err, status.Message)
		}
	}
	c.StopAll()
}
