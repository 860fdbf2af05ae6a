package faults

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// Workers are killed at each step of a task and at random moments, under load. No
// task is lost, no passcode is sent twice, every unknown task is a passcode whose
// worker was killed, and what a killed worker had is requeued within recoveryLimit.
func TestKills(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	h := newHarness(t, fleet.Options{})
	h.startWorkers(3)
	h.warmUp()
	h.injectEach(sandbox.Fault{Delay: 100 * time.Millisecond}) // so that random kills meet calls
	stop := h.startLoad(fleet.Size(100*time.Millisecond, 60*time.Millisecond))
	var plan []killPoint
	for range fleet.Size(2, 15) {
		plan = append(plan, slices.Concat(killPoints, []killPoint{anywhere})...)
	}
	r.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	watch := newRecoveryWatch(h)
	for _, at := range plan {
		watch.follow(h.kill(r, at))
	}
	stop()
	report := h.finish(3*time.Minute, tasks.Done, tasks.Unknown, tasks.Failed)
	h.checkInterrupted(report)
	watch.check(len(plan))
	h.StopAll()
}

// checkInterrupted compares the end of every task with the kills of its workers.
func (h *harness) checkInterrupted(report fleet.Report) {
	h.t.Helper()
	interrupted := map[killPoint]int{}
	unstarted := 0
	for _, id := range h.tasks() {
		kills := h.kills[id]
		if len(kills) == 0 {
			continue
		}
		for _, i := range kills {
			interrupted[i.at]++
		}
		status := h.status(id)
		switch {
		case status.Outcome == tasks.Failed && len(kills) < 3:
			h.t.Errorf(
				"%s failed (%q), although only %d of its workers were killed: %v",
				id,
				status.Message,
				len(kills),
				kills,
			)
		case h.KindOf(id) == h.Passcodes:
			if !slices.ContainsFunc(kills, func(i interruption) bool { return i.started }) {
				unstarted++
			}
			h.checkPasscode(id, kills, status)
		}
	}
	for _, id := range report.Unknown {
		if len(h.kills[id]) == 0 {
			h.t.Errorf("%s is unknown (%q), although no worker of its was killed", id, h.status(id).Message)
		}
	}
	h.t.Logf("unknown: %d; interrupted passcodes whose start was not written: %d", len(report.Unknown), unstarted)
	logCounts(h.t, "interrupted", interrupted)
}

// passcodeCalls says for each kill point how many calls of a passcode the vendor gets
// whose worker was killed there once. They are as many as the codes that are sent,
// except that a request may break off before the vendor acts.
var passcodeCalls = map[killPoint]int{
	taken:          1,
	starting:       1,
	started:        0,
	connecting:     0,
	sent:           1,
	accepted:       1,
	answered:       1,
	unacknowledged: 1,
}

// checkPasscode asserts that a passcode whose workers were killed is unknown if the
// start of its call was written, and otherwise done with exactly one call.
func (h *harness) checkPasscode(id string, kills []interruption, status *tasks.Status) {
	h.t.Helper()
	calls, effects := h.CallsOf(id), h.EffectsOf(id)
	// Who takes a passcode after one that had started only rules on it, and may be killed
	// while it does.
	last := kills[len(kills)-1]
	if i := slices.IndexFunc(kills, func(i interruption) bool { return i.started }); i >= 0 {
		last = kills[i]
	}
	wrong := func(want string) {
		h.t.Helper()
		h.t.Errorf(
			"%s ended %s %q with %d calls and %d passcodes sent, want %s; its worker was killed: %+v",
			id,
			status.Outcome,
			status.Message,
			calls,
			effects,
			want,
			kills,
		)
	}
	switch {
	case last.started:
		// Without a call the worker died between the two.
		if status.Outcome != tasks.Unknown || !strings.Contains(status.Message, "died") || calls > 1 {
			wrong("unknown with one call at the most")
		}
	case status.Outcome == tasks.Failed: // after three deaths
		if calls != 0 {
			wrong("no call")
		}
	case status.Outcome != tasks.Done || calls != 1 || effects != 1:
		wrong("done with one call")
	}
	starts := 0
	for _, i := range kills {
		if i.started {
			starts++
		}
	}
	if starts > 1 {
		wrong("one start at the most")
	}
	if want, ok := passcodeCalls[last.at]; ok && len(kills) == 1 && calls != want {
		wrong(fmt.Sprintf("%d calls", want))
	}
	switch last.at {
	case taken, starting, unacknowledged:
		if last.started {
			wrong("that its start was not written")
		}
	case started, connecting, sent, accepted, answered:
		if !last.started {
			wrong("that its start was written")
		}
	}
}

// recoveryWatch measures how long it takes until the tasks of killed workers are
// requeued.
type recoveryWatch struct {
	h         *harness
	following sync.WaitGroup

	mu     sync.Mutex
	times  map[killPoint][]time.Duration
	late   []string
	killed map[string]time.Time // when a task's worker was killed last
}

func newRecoveryWatch(h *harness) *recoveryWatch {
	w := &recoveryWatch{
		h:      h,
		times:  map[killPoint][]time.Duration{},
		killed: map[string]time.Time{},
	}
	h.t.Cleanup(w.following.Wait)
	return w
}

// follow waits in the background until each task has been requeued.
func (w *recoveryWatch) follow(killed time.Time, interrupted map[string]interruption) {
	maps.DeleteFunc(interrupted, func(_ string, i interruption) bool { return i.at == unacknowledged }) // it has ended
	w.mu.Lock()
	for id := range interrupted {
		w.killed[id] = killed // a second crash starts the measurement again
	}
	w.mu.Unlock()
	w.following.Go(func() {
		recovered := testwait.Poll(3*time.Minute, func() bool {
			for id, i := range interrupted {
				if at := w.requeued(id, i); !at.IsZero() {
					w.record(id, i.at, at)
					delete(interrupted, id)
				}
			}
			return len(interrupted) == 0 || w.h.t.Context().Err() != nil
		})
		if !recovered {
			w.h.t.Errorf("these tasks of a killed worker were not requeued: %v", interrupted)
		}
	})
}

func (w *recoveryWatch) record(id string, at killPoint, requeued time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := requeued.Sub(w.killed[id])
	w.times[at] = append(w.times[at], took)
	if took > recoveryLimit {
		w.late = append(w.late, fmt.Sprintf("%s (%s) after %v", id, at, took))
	}
}

// requeued returns when the task was put back into the queue. If no proxy has seen
// that, it is now, once another worker has claimed or ended the task or asynq has
// taken it from the active list, and until then the zero time.
func (w *recoveryWatch) requeued(id string, i interruption) time.Time {
	w.mu.Lock()
	killed := w.killed[id]
	w.mu.Unlock()
	if at := w.h.requeuedAfter(id, killed); !at.IsZero() {
		return at
	}
	if w.left(id, i) {
		return time.Now()
	}
	return time.Time{}
}

// left reports whether the task is no longer as the killed worker left it.
func (w *recoveryWatch) left(id string, i interruption) bool {
	ctx := w.h.t.Context()
	name, _ := record.QueueOf(id)
	state, err := w.h.Conn().HGet(ctx, "asynq:{"+name+"}:t:"+id, "state").Result()
	switch {
	case err != nil:
		return errors.Is(err, redis.Nil) // asynq has deleted the task, which had ended
	case state != "active":
		return true
	}
	fields, err := w.h.Conn().HMGet(ctx, fleet.RecordKey(id), "fence", "outcome").Result()
	if err != nil {
		return false
	}
	return fields[1] != nil || fields[0] != nil && fields[0] != i.fence
}

// check prints the figures and asserts that every task was requeued within
// recoveryLimit.
func (w *recoveryWatch) check(kills int) {
	t := w.h.t
	t.Helper()
	w.following.Wait()
	t.Logf("%d kills", kills)
	var all []time.Duration
	for at, times := range w.times {
		t.Logf("time until requeued, %-14s %s", at, summary(times))
		all = append(all, times...)
	}
	t.Logf("time until requeued, all:          %s", summary(all))
	if len(all) == 0 {
		t.Error("no killed worker had a task")
	}
	for _, late := range w.late {
		t.Errorf("not requeued within %v: %s", recoveryLimit, late)
	}
}
