package broker

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/timeout"
)

// batcher sends scripts that are called concurrently in one pipeline. A script alone goes at
// once; those that come while one is in flight go together when it has returned, when they
// are a crowd, or after patience; those of the same step and queue are one call of the
// script. After a flight of many the first script waits while the callers of the others
// run, for they are likely to be back. Under load this saves most system calls on both
// sides and what a script costs beside its work, and a lone script waits for nobody. A
// caller who gives up leaves the script in the pipeline: it may be carried out, as it may
// be without one.
type batcher struct {
	rdb    redis.UniversalClient
	bounds *timeout.Limit  // of a batch
	rest   chan []*batched // of goroutines that have sent a batch and rest before they end

	mu      sync.Mutex
	flights int // pipelines, scripts alone, and a first one that gathers others, under way
	last    int // how many scripts the last pipeline had
	pending []*batched
	overdue *time.Timer // sends what is pending if the flight does not land
}

// Batch has the scripts that are called concurrently on a client sent in one
// pipeline.
func Batch(rdb redis.UniversalClient) {
	rdb.AddHook(&batcher{
		rdb:    rdb,
		bounds: timeout.NewLimit(batchTimeout),
		rest:   make(chan []*batched),
	})
}

// batched is one call in a batch.
type batched struct {
	ctx   context.Context
	cmd   *redis.Cmd // the batch's own: a caller may have given up
	alone redis.ProcessHook
	done  chan struct{}
}

const (
	// batchSize is the most scripts in one pipeline.
	batchSize = 64
	// crowd is how many scripts go although one flight is under way, so that Redis has
	// work while the answers of that one are read.
	crowd = 4
	// batchTimeout is how long a pipeline may take: after that, or when its connection
	// breaks, each script goes alone, so that none suffers for another. It is shorter than
	// what a producer's command may take (redisconn.Producer), which needs no second timer.
	batchTimeout = 2700 * time.Millisecond
	// patience is how long scripts wait for the flight before them. One that hangs, on
	// a dead connection, must not keep the others.
	patience = 100 * time.Millisecond
	// restTime is how long a goroutine that has sent a batch waits for the next one. Its
	// stack has the size that sending needs, to which a new one grows step by step.
	restTime = 100 * time.Millisecond
)

// DialHook implements redis.Hook.
func (b *batcher) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

// ProcessPipelineHook implements redis.Hook.
func (b *batcher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (b *batcher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		call, ok := cmd.(*redis.Cmd)
		if !ok || !strings.HasPrefix(cmd.Name(), "eval") || manyTasks(cmd.Args()) {
			return next(ctx, cmd)
		}
		b.mu.Lock()
		first := b.flights == 0
		if first {
			b.flights++
		}
		if first && b.last <= 1 {
			b.mu.Unlock()
			err := next(ctx, cmd)
			b.launch(b.landed())
			return err
		}
		c := &batched{
			ctx:   ctx,
			cmd:   redis.NewCmd(ctx, call.Args()...),
			alone: next,
			done:  make(chan struct{}),
		}
		if b.pending = append(b.pending, c); len(b.pending) == 1 {
			b.overdue = time.AfterFunc(patience, b.depart)
		}
		batch := b.board()
		b.mu.Unlock()
		b.launch(batch)
		if first {
			b.gather()
		}
		select {
		case <-c.done:
			call.SetVal(c.cmd.Val())
			call.SetErr(c.cmd.Err())
		case <-ctx.Done():
			call.SetErr(ctx.Err())
		}
		return call.Err()
	}
}

// gather lets other goroutines run for as long as they bring scripts, and then sends them.
// Where no other is ready to run, that takes no time.
func (b *batcher) gather() {
	for n, more := 0, true; more; {
		runtime.Gosched()
		b.mu.Lock()
		more = len(b.pending) > max(n, 1)
		n = len(b.pending)
		b.mu.Unlock()
	}
	b.launch(b.landed())
}

// landed returns what has come meanwhile, if it may go now.
func (b *batcher) landed() []*batched {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flights--
	return b.board()
}

// board returns what is pending if it may go now. The caller holds mu.
func (b *batcher) board() []*batched {
	if b.flights == 0 && len(b.pending) > 0 || b.flights == 1 && len(b.pending) >= crowd {
		return b.batch()
	}
	return nil
}

// depart sends what is pending, whatever is under way.
func (b *batcher) depart() {
	b.mu.Lock()
	var batch []*batched
	if len(b.pending) > 0 {
		batch = b.batch()
	}
	b.mu.Unlock()
	b.launch(batch)
}

// launch has a batch, if there is one, sent by a goroutine that rests, else by a new one.
func (b *batcher) launch(batch []*batched) {
	if batch == nil {
		return
	}
	select {
	case b.rest <- batch:
	default:
		go b.fly(batch)
	}
}

// batch takes the scripts of the next flight from those that are pending. The caller
// holds mu.
func (b *batcher) batch() []*batched {
	n := min(len(b.pending), batchSize)
	batch := b.pending[:n:n]
	b.pending = b.pending[n:]
	b.flights++
	b.last = n
	b.overdue.Stop()
	if len(b.pending) > 0 {
		b.overdue = time.AfterFunc(patience, b.depart)
	}
	return batch
}

// fly sends a batch, those that come meanwhile, and those that come while it rests.
func (b *batcher) fly(batch []*batched) {
	l := line{rdb: b.rdb}
	defer l.release()
	over := time.NewTimer(restTime)
	defer over.Stop()
	for batch != nil {
		b.send(&l, batch)
		if batch = b.landed(); batch != nil {
			continue
		}
		over.Reset(restTime)
		select {
		case batch = <-b.rest:
		case <-over.C:
			batch = nil
		}
	}
}

// send sends a batch on a line.
func (b *batcher) send(l *line, batch []*batched) {
	ctx, cancel := b.bounds.Context(context.Background())
	defer cancel()
	calls := join(ctx, batch)
	l.exec(ctx, calls)
	for _, joined := range calls {
		joined.share()
		for _, c := range joined.calls {
			if len(batch) > 1 && redisconn.Unreachable(c.cmd.Err()) {
				go c.again()
				continue
			}
			close(c.done)
		}
	}
}

// again sends one script of a pipeline that failed. It may have been carried out:
// go-redis repeats scripts as well, and each of them is made for that.
func (c *batched) again() {
	c.cmd.SetErr(nil)
	if err := c.alone(c.ctx, c.cmd); err != nil {
		c.cmd.SetErr(err)
	}
	close(c.done)
}
