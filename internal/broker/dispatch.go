package broker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// prefetch is the most tasks claimed at once.
	prefetch = 32
	// aheadOf is how many tasks are left to hand out when more are asked for, and how many
	// slots must be free beyond them.
	aheadOf = prefetch / 2
	// blockFor bounds one wait for a task, so that a stop does not take longer.
	blockFor = time.Second
	// answerWithin bounds a question that is asked ahead, and the return of a claim after
	// a panic.
	answerWithin = 5 * time.Second
	// complainEvery is how often a queue that gives no tasks is complained of.
	complainEvery = 3 * time.Second
)

// asynqPrefix is the start of asynq's keys of a queue.
func asynqPrefix(queue string) string {
	return "asynq:{" + queue + "}:"
}

// dispatch gives the tasks of one queue to its slots. It claims as many as there are free
// slots in one script, and waits for the next one with BLMOVE, so that a task starts when
// it arrives.
type dispatch struct {
	server      *Server
	rdb         redis.UniversalClient
	queue       string
	concurrency int
	pace        time.Duration // of questions to a queue that is paused or in trouble
	inFlight    atomic.Int32  // tasks that a slot runs
	parked      atomic.Bool   // the latest forwarding found parked tasks
	looked      atomic.Int64  // when that was, in ns

	mu         sync.Mutex // the free slot that asks holds it, and the others wait for that one
	fetched    []*Claim
	ahead      <-chan taken // the answer to a question that nobody waits for yet; nil for none
	full       bool         // the latest question gave as many tasks as it asked for
	nonce      string       // of the question under way: it stays the same until Redis has answered
	complained time.Time
}

// slot runs one task after the other until the server stops. It ends before if another
// goroutine has the slot, because a handler did not return in time (Claim.FreeSlot).
func (d *dispatch) slot() {
	for c := d.next(); c != nil; c = d.next() {
		d.server.work(c)
		if !c.vacated.CompareAndSwap(false, true) {
			return
		}
		d.inFlight.Add(-1)
	}
	d.server.slots.Done()
}

// next returns the task that a free slot is to run, and waits for it; nil when the server
// stops.
func (d *dispatch) next() *Claim {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fetched) == 0 {
		d.arrive()
	}
	if len(d.fetched) == 0 {
		d.fetch()
	}
	if d.server.isStopping() {
		return nil
	}
	c := d.fetched[0]
	d.fetched = d.fetched[1:]
	d.inFlight.Add(1)
	d.lookAhead()
	return c
}

// fetch claims tasks, and waits until there are some or the server stops.
func (d *dispatch) fetch() {
	quick := 0 // how often in a row the queue had a task at once, and gave none
	for !d.server.isStopping() {
		err := d.keep(d.question()(context.Background()))
		if len(d.fetched) > 0 {
			return
		}
		if errors.Is(err, redis.Nil) {
			if quick > 1 { // the queue is paused, or its tasks wait; once, another worker was faster
				d.pause()
			}
			waited := time.Now()
			err = d.await()
			if quick++; time.Since(waited) >= d.pace {
				quick = 0
			}
		}
		if err != nil {
			d.complain(err)
			d.pause()
		}
	}
}

// await waits until the queue has a task, or the server stops. It moves nothing: from the
// list's tail to its tail. The bound is for a Redis that has gone silent: go-redis would
// give a blocking command ten more seconds, four times.
func (d *dispatch) await() error {
	pending := asynqPrefix(d.queue) + "pending"
	for !d.server.isStopping() {
		ctx, cancel := context.WithTimeout(context.Background(), blockFor+3*time.Second)
		err := d.rdb.BLMove(ctx, pending, pending, "RIGHT", "RIGHT", blockFor).Err()
		cancel()
		if !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// complain logs why there are no tasks to be had.
func (d *dispatch) complain(err error) {
	if d.server.isStopping() || time.Since(d.complained) < complainEvery {
		return
	}
	d.complained = time.Now()
	d.server.log.Error().Err(err).Str("queue", d.queue).Msg("Redis gives no tasks; trying again")
}

// pause waits for the queue's pace, or until the server stops.
func (d *dispatch) pause() {
	select {
	case <-time.After(d.pace):
	case <-d.server.stopping:
	}
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

// free is how many slots neither run a task nor wait for one that is claimed.
func (d *dispatch) free() int {
	return d.concurrency - int(d.inFlight.Load()) - len(d.fetched)
}

// keep adds what was taken to what the slots are to run.
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
	if !d.full || d.ahead != nil || len(d.fetched) > aheadOf || d.free() < aheadOf {
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

// drain puts back what was claimed and will not be run. The server stops.
func (d *dispatch) drain(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrive()
	for _, c := range d.fetched {
		c.requeue(ctx)
	}
	d.fetched = nil
}

// noneParked reports whether no task of the queue was parked a moment ago. It is asked
// with the forwarding, so that the waker need not ask while there are none.
func (d *dispatch) noneParked() bool {
	return !d.parked.Load() && time.Since(time.Unix(0, d.looked.Load())) < 2*wakeInterval
}
