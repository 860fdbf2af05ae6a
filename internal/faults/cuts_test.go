package faults

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// life is a way that a task may go.
type life struct {
	name    string
	kind    func(h *harness) *fleet.Kind
	fault   *sandbox.Fault // of the first call
	outcome tasks.Outcome  // of an undisturbed task
}

var lives = []life{
	{
		name:    "done",
		kind:    func(h *harness) *fleet.Kind { return h.Passcodes },
		outcome: tasks.Done,
	},
	{
		name:    "retry",
		kind:    func(h *harness) *fleet.Kind { return h.Updates },
		fault:   &sandbox.Fault{Status: 503, Times: 1},
		outcome: tasks.Done,
	},
	{
		name:    "archive",
		kind:    func(h *harness) *fleet.Kind { return h.Passcodes },
		fault:   &sandbox.Fault{Code: noSuchConversation.Code, Times: 1},
		outcome: tasks.Invalid,
	},
	{
		name:    "park",
		kind:    func(h *harness) *fleet.Kind { return h.Passcodes },
		fault:   &sandbox.Fault{Status: 429, RetryAfter: "1", Times: 1},
		outcome: tasks.Done,
	},
	{
		name:    "reconcile",
		kind:    func(h *harness) *fleet.Kind { return h.Invoices },
		fault:   &sandbox.Fault{AfterEffect: true, Drop: true, Times: 1},
		outcome: tasks.Done,
	},
}

// A worker loses its connections to Redis before or after a command of a task's life,
// and is killed there: at each command in a long run, at some steps in a short one. Record
// and queue agree, the task ends, and it is unknown only if its call had started.
func TestCutAtEachCommand(t *testing.T) {
	t.Parallel()
	for _, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			r := newRand(t)
			env := fleet.Timeouts(time.Second) // a lookup waits for longer than a call takes
			env["WORKER_QUEUES"] = fleet.Queues(loadQueues...)
			h := newHarness(t, fleet.Options{Env: env})
			s := &cutting{
				h:     h,
				life:  l,
				kind:  l.kind(h),
				ended: map[tasks.Outcome]int{},
			}
			h.startWorkers(1)
			h.Wait(waitLimit, []string{h.EnqueueNew(s.kind)}) // the tokens are in Redis
			h.StopProcesses()

			whole := s.run(0)
			t.Logf("%d places: %s", len(whole.passed), strings.Join(whole.passed, ", "))
			places := r.Perm(len(whole.passed))
			if !fleet.Long() {
				places = slices.DeleteFunc(places, func(i int) bool { return strings.HasPrefix(whole.passed[i], anotherScript) })
				places = places[:min(4, len(places))]
			}
			// Each batch ends before its tasks have met the deaths of too many workers.
			for batch := range slices.Chunk(places, 4) {
				var cut []*cutTask
				for _, place := range batch {
					cut = append(cut, s.run(place+1))
				}
				s.end(cut)
			}
			h.finish(waitLimit, tasks.Done, l.outcome, tasks.Unknown)
			logCounts(t, "ended", s.ended)
			h.startWorkers(1)
			h.StopAll()
		})
	}
}

// cutting cuts tasks of one life.
type cutting struct {
	h     *harness
	life  life
	kind  *fleet.Kind
	ended map[tasks.Outcome]int
}

// cutTask is a task whose worker was cut off.
type cutTask struct {
	id string
	// passed are the places that the task has passed, place the one where it was cut;
	// "" if it ended before.
	passed  []string
	place   string
	started bool
}

// lastStep is the last place that the task itself has passed: scripts for tokens and
// limits run beside it.
func (c *cutTask) lastStep() string {
	for _, place := range slices.Backward(c.passed) {
		if !strings.HasPrefix(place, anotherScript) {
			return place
		}
	}
	return ""
}

// run has a worker of its own run one task, and kills it at the n-th place; with 0 at
// the end of the task.
func (s *cutting) run(n int) *cutTask {
	h := s.h
	h.t.Helper()
	ctx := limitContext(h.t)
	paused := "asynq:{" + s.kind.Queue() + "}:paused" // asynq's switch
	h.Conn().Set(ctx, paused, 1, 0)
	if s.life.fault != nil {
		s.kind.Inject(*s.life.fault)
	}
	id := h.EnqueueNew(s.kind)
	w := h.startWorker()
	c := &cut{id: id, at: n, reached: make(chan struct{})}
	w.proxy.setInterceptor(c.intercept)
	h.Conn().Del(ctx, paused)
	ended := make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		if _, err := h.Client.Wait(watching, id); err == nil {
			close(ended)
		}
	}()
	select {
	case <-c.reached:
	case <-ended:
	case <-ctx.Done():
		h.t.Fatalf("%s neither ends nor comes to place %d: %v", id, n, c.all())
	}
	w.Kill()
	h.waitSilent(w)
	h.CheckQueues()
	claim := h.claims(w.Process)[id]
	task := &cutTask{id: id, passed: c.all(), started: claim.started}
	if n > 0 && len(task.passed) >= n {
		task.place = task.passed[n-1]
	}
	return task
}

// end has another worker end the tasks, and checks how.
func (s *cutting) end(cut []*cutTask) {
	h := s.h
	h.t.Helper()
	w := h.startWorker()
	var ids []string
	for _, task := range cut {
		ids = append(ids, task.id)
	}
	h.Wait(waitLimit, ids)
	w.Stop()
	h.CheckQueues()
	for _, task := range cut {
		status := h.status(task.id)
		calls := h.CallsOf(task.id)
		atMostOnce := s.kind == h.Passcodes
		want := s.life.outcome
		if atMostOnce && task.started {
			want = tasks.Unknown
		}
		written := task.lastStep() == string(start)+" answered" // and nothing was sent
		switch {
		case status.Outcome != want:
		case want == tasks.Unknown && calls == 0 && !written:
		default:
			s.ended[status.Outcome]++
			continue
		}
		h.t.Errorf(
			"cut at %q (%v) %s ended %s %q with %d calls, want %s (started: %v)",
			task.place,
			task.passed,
			task.id,
			status.Outcome,
			status.Message,
			calls,
			want,
			task.started,
		)
	}
}

// cut cuts a worker off at a place in the life of a task. Places are the reply to the
// take, and each later script of the worker before and after Redis runs it, but for
// those that have nothing to do with the task.
type cut struct {
	id      string
	at      int // counted from 1
	reached chan struct{}

	mu     sync.Mutex
	claims int // that have not ended
	passed []string
}

// anotherScript is what Redis runs during a claim for the worker's tokens and limits.
const anotherScript = "another script"

func (c *cut) intercept(cmd *command, reply []byte) action {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at > 0 && len(c.passed) >= c.at {
		return disconnect // nothing comes after
	}
	if reply != nil && refused(reply) {
		return pass // NOSCRIPT: the script comes again
	}
	what, _ := cmd.step()
	ours := slices.Contains(cmd.tasksOf(reply), c.id)
	switch {
	case what == take && ours:
		c.claims++
	case ours:
	case c.claims == 0 || what != other || !strings.HasPrefix(strings.ToLower(cmd.args[0]), "eval"):
		return pass
	}
	if ours && (what == end || what == requeue) && reply != nil {
		c.claims--
	}
	name := string(what)
	if what == other {
		name = anotherScript
	}
	if reply == nil {
		name += " asked"
	} else {
		name += " answered"
	}
	c.passed = append(c.passed, name)
	if len(c.passed) != c.at {
		return pass
	}
	close(c.reached)
	return disconnect
}

func (c *cut) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.passed)
}
