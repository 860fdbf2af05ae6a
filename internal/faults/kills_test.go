package faults

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Workers are killed at each step of a task, and at random moments, while
// passcodes are sent, users inactivated and alerts read. Nothing is lost, no
// passcode goes out twice, every unknown is a passcode that a killed worker had
// in hand, and somebody else has what it had within half a minute.
func TestKills(t *testing.T) {
	t.Parallel()
	d := dice(t)
	c := newCrew(t, fleet.Options{})
	c.hire(3)
	c.warmUp()
	slow := 100 * time.Millisecond // so that there is something to be met at random
	c.OTP.Inject(sandbox.Fault{Delay: slow})
	c.AnnA.Inject(sandbox.Fault{Delay: slow})
	stop := c.load(fleet.Size(100*time.Millisecond, 60*time.Millisecond))
	var plan []point
	for range fleet.Size(2, 15) {
		plan = append(plan, slices.Concat(points, []point{moment})...)
	}
	d.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	watch := newRecovery(c)
	for _, at := range plan {
		watch.follow(c.kill(d, at))
	}
	stop()
	report := c.finish(3*time.Minute, tasks.Done, tasks.Unknown, tasks.Failed)
	c.judgeHands(report)
	watch.report(len(plan))
	c.StopAll()
}

// judgeHands compares the end of every task with the hands that it was in.
func (c *crew) judgeHands(report fleet.Report) {
	c.t.Helper()
	inHand := map[point]int{}
	explained := 0
	for _, j := range c.jobs {
		status, err := c.Client.Status(c.t.Context(), j.id)
		if err != nil {
			c.t.Errorf("%s: %v", j.id, err)
			continue
		}
		for _, h := range j.hands {
			inHand[h.at]++
		}
		died := slices.ContainsFunc(j.hands, func(h hand) bool { return h.at != taken && h.at != unacknowledged })
		switch {
		case status.Outcome == tasks.Unknown && died && strings.Contains(status.Message, "died"):
			explained++
		case status.Outcome == tasks.Unknown:
			c.t.Errorf("%s is unknown (%q), and no killed worker had claimed it: %v", j.id, status.Message, j.hands)
		case status.Outcome == tasks.Failed && len(j.hands) < 3:
			c.t.Errorf(
				"%s failed (%q), and was in the hands of %d killed workers: %v",
				j.id,
				status.Message,
				len(j.hands),
				j.hands,
			)
		}
		if len(j.hands) == 1 && strings.HasPrefix(j.id, "otp-") {
			c.judgeSend(j, status)
		}
	}
	if explained != len(report.Unknown) {
		c.t.Errorf("%d of %d unknowns are explained", explained, len(report.Unknown))
	}
	c.t.Logf("unknown: %d, all explained by a kill", explained)
	table(c.t, "in the hand of a killed worker", inHand)
}

// judgeSend says how a passcode must have ended whose worker was killed once.
func (c *crew) judgeSend(j *job, status *tasks.Status) {
	c.t.Helper()
	for _, want := range []struct {
		at      point
		outcome tasks.Outcome
		least   int
		most    int
	}{
		{taken, tasks.Done, 1, 1},
		{claimed, tasks.Unknown, 0, 0},
		{connecting, tasks.Unknown, 0, 0},
		{sent, tasks.Unknown, 0, 1},
		{accepted, tasks.Unknown, 1, 1},
		{answered, tasks.Unknown, 1, 1},
		{unacknowledged, tasks.Done, 1, 1},
	} {
		if n := c.effects(j.id); want.at == j.hands[0].at &&
			(status.Outcome != want.outcome || n < want.least || n > want.most) {
			c.t.Errorf(
				"%s was %s when its worker was killed; it ended %s %q with %d passcodes sent, want %s with %d to %d",
				j.id,
				want.at,
				status.Outcome,
				status.Message,
				n,
				want.outcome,
				want.least,
				want.most,
			)
		}
	}
}

// recovery measures how long the tasks of killed workers wait for somebody.
type recovery struct {
	crew  *crew
	asynq *asynq.Inspector
	all   sync.WaitGroup

	mu    sync.Mutex
	times map[point][]time.Duration
	last  map[string]time.Time // when a task was in the hand of a killed worker
}

func newRecovery(c *crew) *recovery {
	r := &recovery{
		crew:  c,
		asynq: asynq.NewInspectorFromRedisClient(c.Conn()),
		times: map[point][]time.Duration{},
		last:  map[string]time.Time{},
	}
	c.t.Cleanup(r.all.Wait)
	return r
}

// follow waits in the background until each task has been claimed again or has
// ended; one whose outcome was written already, until asynq has taken it off.
func (r *recovery) follow(when time.Time, hands map[string]hand) {
	r.mu.Lock()
	for id := range hands {
		r.last[id] = when // a second crash begins anew
	}
	r.mu.Unlock()
	r.all.Go(func() {
		ok := until(r.crew.t, 3*time.Minute, func() bool {
			for id, h := range hands {
				if r.over(id, h) {
					r.mu.Lock()
					took := time.Since(r.last[id])
					r.times[h.at] = append(r.times[h.at], took)
					r.mu.Unlock()
					if took > fleet.Size(time.Hour, recoverPatience) {
						r.crew.t.Errorf("%s (%s) waited %v for another worker", id, h.at, took)
					}
					delete(hands, id)
				}
			}
			return len(hands) == 0 || r.crew.t.Context().Err() != nil
		})
		if !ok {
			r.crew.t.Errorf("nobody took these tasks of a killed worker: %v", hands)
		}
	})
}

func (r *recovery) over(id string, h hand) bool {
	ctx := r.crew.t.Context()
	if h.at == unacknowledged {
		name, _, _ := strings.Cut(id, "-")
		info, err := r.asynq.GetTaskInfo(name, id)
		return err == nil && (info.State == asynq.TaskStateCompleted || info.State == asynq.TaskStateArchived)
	}
	fields, err := r.crew.Conn().HMGet(ctx, recordKey(id), "fence", "outcome").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false
	}
	return fields[1] != nil || fields[0] != nil && fields[0] != h.fence
}

// report prints the figures, and wants them within the promise if the machine
// was not asked for too much.
func (r *recovery) report(kills int) {
	r.all.Wait()
	t := r.crew.t
	t.Helper()
	t.Logf("%d kills", kills)
	var all []time.Duration
	for at, times := range r.times {
		t.Logf("first re-run or ruling after a kill, %-14s %s", at, spread(times))
		all = append(all, times...)
	}
	t.Logf("first re-run or ruling after a kill, all:          %s", spread(all))
	if len(all) == 0 {
		t.Error("no killed worker had a task in hand")
		return
	}
	late := 0
	for _, d := range all {
		if d > recoverWithin {
			late++
		}
	}
	t.Logf("later than %v: %d", recoverWithin, late)
}
