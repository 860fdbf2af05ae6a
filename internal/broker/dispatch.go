package broker

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// serverHook sits beneath asynq's servers and answers in place of Redis:
//
//   - the question for a task, with one that it has claimed. It claims as many as
//     there are free slots in one script, and waits for the next task with BLMOVE
//     instead of answering "empty", so that a task starts when it arrives;
//   - every acknowledgement (done, retry, archive, requeue) with OK: the step that
//     ended the task has moved asynq's task already, or will;
//   - the question for tasks whose lease has ended with "none": the reconciler finds
//     what dead workers leave behind;
//   - the forwarding of delayed tasks, by Redis' clock instead of the worker's. asynq asks
//     for those of scheduled first, which brings those of retry along.
//
// Everything else goes to Redis.
type serverHook struct {
	rdb    redis.UniversalClient
	queues map[string]*dispatch // by asynq prefix
}

const (
	// prefetch is the most tasks claimed at once.
	prefetch = 32
	// aheadOf is how many tasks are left to hand out when more are asked for, and how many
	// slots must be free beyond them.
	aheadOf = prefetch / 2
	// blockFor bounds one wait for a task, so that a stop does not take longer.
	blockFor = time.Second
	// answerWithin bounds the wait for one question: asynq has fixed the lease before
	// it asked.
	answerWithin = 5 * time.Second
	// leaseFor is how long asynq's lease of a task lasts (internal/rdb: LeaseDuration).
	leaseFor = 30 * time.Second
)

// asynqPrefix is the start of asynq's keys of a queue.
func asynqPrefix(queue string) string {
	return "asynq:{" + queue + "}:"
}

// dispatch hands out the tasks of one queue.
type dispatch struct {
	server      *Server
	rdb         redis.UniversalClient
	queue       string
	concurrency int
	pace        time.Duration // of questions to a queue that is paused or in trouble
	inFlight    atomic.Int32  // handed out, and not yet returned by the handler
	parked      atomic.Bool   // the latest forwarding found parked tasks
	looked      atomic.Int64  // when that was, in ns

	mu      sync.Mutex // asynq asks from one goroutine; drain from another
	fetched []*Claim
	ahead   <-chan taken // the answer to a question that nobody waits for yet; nil for none
	full    bool         // the latest question gave as many tasks as it asked for
	nonce   string       // of the question under way: it stays the same until Redis has answered
	empty   bool         // the wait at the end of the last question found the queue empty
	drained bool
}

// DialHook implements redis.Hook.
func (h *serverHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessPipelineHook implements redis.Hook.
func (h *serverHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h *serverHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		asked, ok := cmd.(*redis.Cmd)
		if !ok || !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		d, question := h.recognize(cmd.Args())
		switch question {
		case "dequeue":
			return d.dequeue(ctx, asked)
		case "acknowledge":
			asked.SetVal("OK")
			return nil
		case "expired leases":
			asked.SetVal([]any{})
			return nil
		case "forward":
			return d.forward(ctx, asked)
		case "forward the others":
			asked.SetVal(int64(0))
			return nil
		}
		return next(ctx, cmd)
	}
}

// recognize tells which of asynq's scripts is called by the kinds of its keys.
func (h *serverHook) recognize(args []any) (d *dispatch, question string) {
	n, _ := args[2].(int)
	kinds := ""
	for _, arg := range args[3:min(3+n, len(args))] {
		key, _ := arg.(string)
		i := strings.Index(key, "}:")
		if i < 0 {
			return nil, ""
		}
		owner := h.queues[key[:i+2]]
		if owner == nil || d != nil && d != owner {
			return nil, ""
		}
		d = owner
		kind := key[i+2:]
		if strings.HasPrefix(kind, "t:") {
			kind = "t"
		}
		kinds += " " + kind
	}
	switch {
	case kinds == " pending paused active lease":
		return d, "dequeue"
	case kinds == " lease":
		return d, "expired leases"
	case kinds == " scheduled pending":
		return d, "forward"
	case kinds == " retry pending":
		return d, "forward the others"
	case strings.HasPrefix(kinds, " active lease"), strings.HasPrefix(kinds, " t active lease"):
		return d, "acknowledge"
	}
	return nil, ""
}

// forward makes delayed tasks pending.
func (d *dispatch) forward(ctx context.Context, cmd *redis.Cmd) error {
	reply, err := run(ctx, d.rdb, forwardStep, d.queue, nil)
	if err != nil {
		return err
	}
	d.parked.Store(reply.Bool(1))
	d.looked.Store(time.Now().UnixNano())
	cmd.SetVal(reply.Int(0))
	return nil
}

// noneParked reports whether no task of the queue was parked a moment ago. It is asked
// with the forwarding, so that the waker need not ask while there are none.
func (d *dispatch) noneParked() bool {
	return !d.parked.Load() && time.Since(time.Unix(0, d.looked.Load())) < 2*wakeInterval
}

// dequeue answers with the next task, or redis.Nil if there is none.
func (d *dispatch) dequeue(ctx context.Context, cmd *redis.Cmd) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fetched) == 0 {
		d.arrive()
	}
	if len(d.fetched) == 0 {
		if err := d.fetch(ctx); err != nil {
			return err
		}
	}
	c := d.fetched[0]
	d.fetched = d.fetched[1:]
	d.inFlight.Add(1)
	d.lookAhead()
	cmd.SetVal(string(handout(c.ID, c.Type, c.Queue)))
	return nil
}

// fetch claims tasks, and waits for some. It returns redis.Nil if none came.
func (d *dispatch) fetch(ctx context.Context) error {
	quick := 0       // how often in a row the queue had a task at once, and gave none
	empty := d.empty // the wait has just found it so
	d.empty = false
	for until := time.Now().Add(answerWithin); ; {
		if d.drained || d.server.isStopping() {
			return redis.Nil
		}
		if !empty {
			err := d.take(ctx)
			if !errors.Is(err, redis.Nil) {
				if err != nil {
					d.pause()
				}
				return err
			}
		}
		if quick > 1 { // the queue is paused, or its tasks wait; once, another worker was faster
			d.pause()
		}
		waited := time.Now()
		err := d.await(ctx)
		empty = errors.Is(err, redis.Nil)
		switch {
		case err != nil && !empty:
			d.pause()
			return err
		case err == nil && time.Since(waited) < d.pace:
			quick++
		default:
			quick = 0
		}
		if time.Now().After(until) {
			d.empty = empty // asynq asks again at once
			return redis.Nil
		}
	}
}

// take claims as many tasks as there are free slots.
func (d *dispatch) take(ctx context.Context) error {
	return d.keep(d.question()(ctx))
}

// taken is what a question for tasks gave.
type taken struct {
	claims []*Claim
	full   bool // as many as were asked for
	err    error
}

// question prepares one for as many tasks as there are free slots.
func (d *dispatch) question() func(ctx context.Context) taken {
	if d.nonce == "" {
		d.nonce = newNonce()
	}
	n, nonce := max(1, min(d.free(), prefetch)), d.nonce
	return func(ctx context.Context) taken {
		claims, err := d.server.take(ctx, d.rdb, d.queue, n, nonce)
		return taken{claims: claims, full: len(claims) == n, err: err}
	}
}

// free is how many slots neither have a task nor wait for one that is claimed.
func (d *dispatch) free() int {
	return d.concurrency - int(d.inFlight.Load()) - len(d.fetched)
}

// keep adds what was taken to what is to be handed out.
func (d *dispatch) keep(t taken) error {
	if t.err == nil || errors.Is(t.err, redis.Nil) {
		d.nonce = ""
	}
	d.fetched = append(d.fetched, t.claims...)
	d.full = t.full
	return t.err
}

// lookAhead asks for the next tasks while the last ones are handed out, so that Redis and
// the worker do not wait for each other. It does so only where the queue is long and there
// are slots free for them: what is claimed starts at once.
func (d *dispatch) lookAhead() {
	if !d.full || d.ahead != nil || len(d.fetched) > aheadOf || d.free() < aheadOf || d.server.isStopping() {
		return
	}
	ask := d.question()
	answer := make(chan taken, 1)
	d.ahead = answer
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		defer cancel()
		answer <- ask(ctx)
	}()
}

// arrive waits for the question that was asked ahead. Its error is nobody's: the next
// question is the same one.
func (d *dispatch) arrive() {
	if d.ahead == nil {
		return
	}
	_ = d.keep(<-d.ahead)
	d.ahead = nil
}

// await waits once until the queue has a task. It moves nothing: from the list's tail
// to its tail. The bound is for a Redis that has gone silent: go-redis would give a
// blocking command ten more seconds, four times.
func (d *dispatch) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, blockFor+3*time.Second)
	defer cancel()
	pending := asynqPrefix(d.queue) + "pending"
	return d.rdb.BLMove(ctx, pending, pending, "RIGHT", "RIGHT", blockFor).Err()
}

// pause waits for the queue's pace, or until the server stops.
func (d *dispatch) pause() {
	select {
	case <-time.After(d.pace):
	case <-d.server.stopping:
	}
}

// returned says that a handler has returned, so that its slot is about to be free.
func (d *dispatch) returned() {
	d.inFlight.Add(-1)
}

// drain puts back what was claimed and will not be handed out.
func (d *dispatch) drain(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drained = true
	d.arrive()
	for _, c := range d.fetched {
		c.requeue(ctx)
	}
	d.fetched = nil
}
