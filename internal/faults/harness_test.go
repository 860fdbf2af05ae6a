package faults

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// harness is a fixture whose workers each reach Redis through a proxy of their own.
type harness struct {
	*fleet.Fixture
	t *testing.T

	// kinds are the tasks that the load consists of.
	kinds   []*fleet.Kind
	workers []*workerProcess

	mu sync.Mutex
	// skipped is how many of the enqueued tasks are left out of the checks.
	skipped int
	ended   map[string]bool           // tasks that were seen ended
	kills   map[string][]interruption // by task ID
	// requeues are the times at which a worker put a task back into the queue, by ID.
	requeues map[string][]time.Time
}

type workerProcess struct {
	*fleet.Process
	proxy *proxy
}

// interruption says how far a task was when its worker was killed.
type interruption struct {
	at    killPoint
	fence string // of the claim, "" without one
	// started says that the start of the call was written.
	started bool
}

// loadQueues are the queues of the load.
var loadQueues = []string{"otp", "danaconnect", "dinero"}

// newHarness returns a harness without workers. Its load has one kind for each way
// in which a call may be repeated: passcodes at most once, updates at least once, and
// reads, which have no effect.
func newHarness(t *testing.T, o fleet.Options) *harness {
	t.Helper()
	env := map[string]string{"WORKER_QUEUES": fleet.Queues(loadQueues...)}
	maps.Copy(env, o.Env)
	o.Env = env
	f := fleet.New(t, o)
	return &harness{
		Fixture: f,
		t:       t,
		kinds:   []*fleet.Kind{f.Passcodes, f.Updates, f.Reads},
		ended:   map[string]bool{},
		kills:   map[string][]interruption{},

		requeues: map[string][]time.Time{},
	}
}

// repeatable are the kinds of the load that run at least once.
func (h *harness) repeatable() []*fleet.Kind {
	return []*fleet.Kind{h.Updates, h.Reads}
}

// startWorkers starts n workers. env are settings of these workers only, as
// NAME=value.
func (h *harness) startWorkers(n int, env ...string) []*workerProcess {
	h.t.Helper()
	var started []*workerProcess
	for range n {
		started = append(started, h.startWorker(env...))
	}
	h.workers = append(h.workers, started...)
	return started
}

// startWorker starts a worker that is not one of h.workers.
func (h *harness) startWorker(env ...string) *workerProcess {
	h.t.Helper()
	p := newProxy(h.t)
	p.setTarget(h.Redis.Addr())
	p.setObserver(h.recordRequeue)
	return h.startBehind(p, env...)
}

func (h *harness) recordRequeue(c *command, reply []byte) {
	what, ids := c.step()
	if what != requeue || refused(reply) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, answer := range c.answers(reply) {
		if answer == "1" { // otherwise the script has moved nothing
			h.requeues[ids[i]] = append(h.requeues[ids[i]], time.Now())
		}
	}
}

// requeuedAfter returns when a worker has put the task back into the queue after the
// given time, and the zero time if none has.
func (h *harness) requeuedAfter(id string, killed time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.requeues[id] {
		if at.After(killed) {
			return at
		}
	}
	return time.Time{}
}

func (h *harness) startBehind(p *proxy, env ...string) *workerProcess {
	h.t.Helper()
	process := h.Start(1, append([]string{"REDIS_URL=" + p.url()}, env...)...)[0]
	return &workerProcess{process, p}
}

// startLoad enqueues a task of each kind every interval until stop is called.
func (h *harness) startLoad(interval time.Duration) (stop func()) {
	var stops []func() []string
	for _, kind := range h.kinds {
		stops = append(stops, h.Load(interval, kind))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// enqueueEach enqueues n tasks of each kind.
func (h *harness) enqueueEach(n int) (ids []string) {
	for _, kind := range h.kinds {
		ids = append(ids, h.EnqueueMany(n, kind)...)
	}
	return ids
}

// injectEach arms a fault of each kind's calls.
func (h *harness) injectEach(fault sandbox.Fault) {
	for _, kind := range h.kinds {
		kind.Inject(fault)
	}
}

// warmUp gives every worker its tokens and a proven password.
func (h *harness) warmUp() {
	h.t.Helper()
	for _, w := range h.workers {
		for _, kind := range h.kinds {
			for n := 0; !w.HasEnded(kind) && n < 100; n++ {
				h.Wait(waitLimit, h.EnqueueMany(20, kind))
			}
		}
	}
}

// tasks are the IDs of all tasks enqueued so far, without the skipped ones.
func (h *harness) tasks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Enqueued()[h.skipped:]
}

// skip leaves the tasks that were enqueued so far out of later checks.
func (h *harness) skip() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skipped = len(h.Enqueued())
}

// claims returns the tasks that have not ended and that the process has claimed.
func (h *harness) claims(p *fleet.Process) map[string]interruption {
	h.t.Helper()
	h.mu.Lock()
	open := slices.DeleteFunc(h.Enqueued(), func(id string) bool { return h.ended[id] })
	h.mu.Unlock()
	ctx := context.WithoutCancel(h.t.Context())
	replies, err := h.Conn().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, id := range open {
			pipe.HMGet(ctx, fleet.RecordKey(id), "owner", "fence", "started", "outcome")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		h.t.Fatalf("read the claims: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	claimed := map[string]interruption{}
	for i, reply := range replies {
		fields := reply.(*redis.SliceCmd).Val()
		if owner, _ := fields[0].(string); p.IsOwner(owner) {
			fence, _ := fields[1].(string)
			claimed[open[i]] = interruption{fence: fence, started: fields[2] != nil}
		}
		if fields[3] != nil {
			h.ended[open[i]] = true
		}
	}
	return claimed
}

// ofEachKind reports whether the tasks include one of each kind.
func (h *harness) ofEachKind(ids []string) bool {
	found := map[*fleet.Kind]bool{}
	for _, id := range ids {
		found[h.KindOf(id)] = true
	}
	for _, kind := range h.kinds {
		if !found[kind] {
			return false
		}
	}
	return true
}

// ofKind returns the tasks of one kind.
func (h *harness) ofKind(ids []string, kind *fleet.Kind) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return h.KindOf(id) != kind })
}

// waitCalls waits until the vendors have had n more calls of each kind than before.
func (h *harness) waitCalls(ctx context.Context, before map[*fleet.Kind]int, n int) {
	h.t.Helper()
	for _, kind := range h.kinds {
		if err := kind.WaitCalls(ctx, before[kind]+n); err != nil {
			h.t.Fatal(err)
		}
	}
}

// calls is how many calls of each kind the vendors have had.
func (h *harness) calls() map[*fleet.Kind]int {
	calls := map[*fleet.Kind]int{}
	for _, kind := range h.kinds {
		calls[kind] = kind.Calls()
	}
	return calls
}

// status returns a task's status, and fails the test if there is none.
func (h *harness) status(id string) *tasks.Status {
	h.t.Helper()
	status, err := h.Client.Status(h.t.Context(), id)
	if err != nil {
		h.t.Fatalf("%s: %v", id, err)
	}
	return status
}

// limitContext is a context that ends after waitLimit.
func limitContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	t.Cleanup(cancel)
	return ctx
}
