package queue

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"
)

// dispatchHook speeds up asynq's dispatch without changing what is in Redis.
// asynq asks for one task per round trip, and sleeps when there is none. The
// hook sees that question (a script on the queue's pending, paused, active and
// lease keys) and
//
//   - asks for as many tasks as there are free slots in one pipeline, and hands
//     the others out when asynq asks again, which it does at once;
//   - waits for the next task with BLMOVE (from the list's tail to its tail,
//     which moves nothing) instead of answering "empty", so that a task starts
//     when it arrives and not when a sleep ends. A paused queue, or one in
//     trouble, is polled as asynq does.
type dispatchHook struct {
	rdb    redis.UniversalClient
	queues map[string]*dispatch // by pending key
}

const (
	// widest is the most tasks fetched at once.
	widest = 32
	// waitFor bounds one wait, so that a stop does not take longer.
	waitFor = time.Second
	// freshFor is how old a fetched task may be when it is handed out: its lease
	// of 30 s runs since then.
	freshFor = 5 * time.Second
)

// dispatch is the state of one queue's server. asynq asks from one goroutine
// only; the lock is for put-back at the end.
type dispatch struct {
	queue       string
	concurrency int
	inFlight    atomic.Int32 // handed out and not yet returned by the handler
	stopping    chan struct{}

	mu      sync.Mutex
	fetched []fetchedTask
	width   int
}

type fetchedTask struct {
	message any
	at      time.Time
}

func newDispatch(queue string, concurrency int, stopping chan struct{}) *dispatch {
	return &dispatch{queue: queue, concurrency: concurrency, stopping: stopping, width: 1}
}

// returned tells that a handler has returned, so that its slot is about to be
// free.
func (d *dispatch) returned() { d.inFlight.Add(-1) }

// DialHook implements redis.Hook.
func (h *dispatchHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessPipelineHook implements redis.Hook.
func (h *dispatchHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h *dispatchHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		question, ok := cmd.(*redis.Cmd)
		if !ok {
			return next(ctx, cmd)
		}
		d := h.asksFor(question)
		if d == nil {
			return next(ctx, cmd)
		}
		err := d.answer(ctx, h.rdb, question, next)
		if err == nil {
			d.inFlight.Add(1)
		}
		return err
	}
}

// asksFor recognizes asynq's question for a task: a script on exactly the keys
// pending, paused, active, lease of one queue.
func (h *dispatchHook) asksFor(cmd *redis.Cmd) *dispatch {
	args := cmd.Args()
	if len(args) != 9 || !strings.HasPrefix(cmd.Name(), "eval") {
		return nil
	}
	pending, _ := args[3].(string)
	d := h.queues[pending]
	if d == nil {
		return nil
	}
	for i, suffix := range [...]string{"paused", "active", "lease"} {
		if args[4+i] != strings.TrimSuffix(pending, "pending")+suffix {
			return nil
		}
	}
	return d
}

func pendingKey(queue string) string { return "asynq:{" + queue + "}:pending" }

// heldKeys is what asynq's keys of single tasks begin with.
func heldKeys(queue string) string { return "asynq:{" + queue + "}:t:" }

// answer gives the next task, or redis.Nil if the queue stays empty.
func (d *dispatch) answer(ctx context.Context, rdb redis.UniversalClient, cmd *redis.Cmd, next redis.ProcessHook) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fetched) > 0 && time.Since(d.fetched[0].at) < freshFor {
		cmd.SetVal(d.fetched[0].message)
		d.fetched = d.fetched[1:]
		return nil
	}
	d.putBack(ctx, rdb) // what lay too long, because Redis was away

	if free := d.concurrency - int(d.inFlight.Load()); d.width > 1 && free > 1 {
		if d.fetch(ctx, rdb, cmd, min(d.width, free)) {
			return nil
		}
	}
	err := next(ctx, cmd)
	if err == nil {
		d.width = min(2*d.width, widest)
		return nil
	}
	d.width = 1
	if !errors.Is(err, redis.Nil) || !d.await(ctx, rdb) {
		return err
	}
	return next(ctx, cmd)
}

// fetch asks n times at once and hands out the first task. It reports false if
// there was none, or any trouble: then the plain question tells.
func (d *dispatch) fetch(ctx context.Context, rdb redis.UniversalClient, cmd *redis.Cmd, n int) bool {
	pipe := rdb.Pipeline()
	asked := make([]*redis.Cmd, n)
	for i := range asked {
		asked[i] = pipe.Do(ctx, cmd.Args()...)
	}
	_, _ = pipe.Exec(ctx) // each reply tells for itself
	now := time.Now()
	for _, reply := range asked {
		if message, err := reply.Result(); err == nil && message != nil {
			d.fetched = append(d.fetched, fetchedTask{message, now})
		}
	}
	if len(d.fetched) == n {
		d.width = min(2*d.width, widest)
	}
	if len(d.fetched) == 0 {
		return false
	}
	cmd.SetVal(d.fetched[0].message)
	d.fetched = d.fetched[1:]
	return true
}

// await waits until a task is there and reports whether one is worth asking
// for. It gives up when the server stops, so that asynq's own loop goes on.
func (d *dispatch) await(ctx context.Context, rdb redis.UniversalClient) bool {
	key := pendingKey(d.queue)
	for {
		select {
		case <-d.stopping:
			return false
		default:
		}
		err := d.blockFor(ctx, rdb, key)
		if !errors.Is(err, redis.Nil) {
			return err == nil // in trouble asynq asks again after its own sleep
		}
	}
}

// blockFor waits once. The bound is for a Redis that has gone silent: go-redis
// would give a blocking command ten more seconds, four times.
func (d *dispatch) blockFor(ctx context.Context, rdb redis.UniversalClient, key string) error {
	ctx, cancel := context.WithTimeout(ctx, waitFor+3*time.Second)
	defer cancel()
	return rdb.BLMove(ctx, key, key, "RIGHT", "RIGHT", waitFor).Err()
}

// putBack returns what was fetched and will not be handed out.
func (d *dispatch) putBack(ctx context.Context, rdb redis.UniversalClient) {
	base := strings.TrimSuffix(pendingKey(d.queue), "pending")
	for len(d.fetched) > 0 {
		last := d.fetched[len(d.fetched)-1] // the head of the list was fetched first
		d.fetched = d.fetched[:len(d.fetched)-1]
		id, ok := messageID(last.message)
		if !ok {
			continue
		}
		// If this fails, asynq's recoverer finds the task when its lease has ended.
		_ = putBackScript.Run(ctx, rdb, []string{base + "active", base + "lease", base + "pending", base + "t:" + id}, id).Err()
	}
}

// stop puts back what is left after the server has stopped asking.
func (d *dispatch) stop(rdb redis.UniversalClient) {
	ctx, cancel := context.WithTimeout(context.Background(), waitFor)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.putBack(ctx, rdb)
}

// messageID reads the task ID out of asynq's encoded message (a protobuf; the
// ID is field 3 of TaskMessage).
func messageID(message any) (string, bool) {
	text, _ := message.(string)
	for raw := []byte(text); len(raw) > 0; {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return "", false
		}
		raw = raw[n:]
		if number == 3 && kind == protowire.BytesType {
			id, n := protowire.ConsumeBytes(raw)
			return string(id), n > 0
		}
		if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
			return "", false
		}
		raw = raw[n:]
	}
	return "", false
}

// putBackScript is what asynq does to a task it has taken and will not run.
//
// KEYS: active, lease, pending, task
// ARGV: id
var putBackScript = redis.NewScript(`
if redis.call('LREM', KEYS[1], 0, ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[4], 'state', 'pending')
return 1
`)
