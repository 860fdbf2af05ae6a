package broker_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

// pipelines counts the pipelines, and breaks them if told to, as a connection does on
// which one answer never comes.
type pipelines struct {
	breaks bool
	n      atomic.Int32
	most   atomic.Int32 // scripts in one pipeline
}

func (*pipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		p.n.Add(1)
		p.most.Store(max(p.most.Load(), int32(len(cmds))))
		if !p.breaks || len(cmds) == 1 { // who travels alone has the error of that
			return next(ctx, cmds)
		}
		err := &net.OpError{Op: "read", Err: errors.New("broken by the test")}
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
		return err
	}
}

// Scripts that are called at once share pipelines, each has its own answer, and one
// that gets none takes no other with it.
func TestScriptsShareAPipeline(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]bool{"that holds": false, "that breaks": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.New(t).Client()
			broker.Batch(rdb)
			hook := &pipelines{breaks: breaks}
			rdb.AddHook(hook)
			for round := 1; hook.n.Load() == 0; round++ {
				const n = 200
				var all sync.WaitGroup
				var mu sync.Mutex
				seen := map[int64]bool{}
				for range n {
					all.Go(func() {
						got, err := rdb.Eval(t.Context(), `return redis.call('INCR', KEYS[1])`, []string{"n"}).Int64()
						mu.Lock()
						defer mu.Unlock()
						if err != nil || seen[got] {
							t.Errorf("%d twice, or %v", got, err)
						}
						seen[got] = true
					})
				}
				all.Wait()
				if got, err := rdb.Get(t.Context(), "n").Int(); err != nil || got != n*round {
					t.Fatalf("%d scripts were carried out, %v; want %d", got, err, n*round)
				}
			}
		})
	}
}

// crowded keeps the first script that is sent alone, and tells how many each pipeline had.
type crowded struct {
	first sync.Once
	sent  chan struct{}
	over  chan struct{}
	sizes chan int
}

func (*crowded) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *crowded) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.first.Do(func() {
			close(h.sent)
			<-h.over
		})
		return next(ctx, cmd)
	}
}

func (h *crowded) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.sizes <- len(cmds)
		return next(ctx, cmds)
	}
}

// Few scripts wait for the flight before them; a crowd of four does not.
func TestACrowdOfScriptsDoesNotWait(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	broker.Batch(rdb)
	hook := &crowded{sent: make(chan struct{}), over: make(chan struct{}), sizes: make(chan int, 100)}
	rdb.AddHook(hook)
	var all sync.WaitGroup
	call := func() {
		if err := rdb.Eval(context.Background(), `return 1`, nil).Err(); err != nil {
			t.Error(err)
		}
	}
	all.Go(call)
	<-hook.sent
	for range 30 {
		all.Go(call)
	}
	if size := <-hook.sizes; size != 4 {
		t.Errorf("%d scripts left first, want the 4 that were there first", size)
	}
	close(hook.over)
	all.Wait()
}

// Callers who come back together from a flight of many travel together again: the fastest
// does not go alone.
func TestCallersTravelTogetherAgain(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	broker.Batch(rdb)
	hook := &pipelines{}
	rdb.AddHook(hook)
	const n = 3 // fewer than a crowd
	for range 1000 {
		var all sync.WaitGroup
		begin := make(chan struct{})
		for range n {
			all.Go(func() {
				<-begin
				if err := rdb.Eval(context.Background(), `return 1`, nil).Err(); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		all.Wait()
		if hook.most.Load() == n {
			return
		}
	}
	t.Errorf("of %d callers at most %d travelled together", n, hook.most.Load())
}

// One script's error, and a caller who has given up, are their own.
func TestAnErrorInABatchIsItsOwn(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	broker.Batch(rdb)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var all sync.WaitGroup
	for i := range 90 {
		all.Go(func() {
			switch i % 3 {
			case 0:
				if err := rdb.Eval(t.Context(), `return redis.error_reply("NO refused")`, nil).Err(); err == nil || err.Error() != "NO refused" {
					t.Errorf("the error is %v", err)
				}
			case 1:
				if err := rdb.Eval(gone, `return 1`, nil).Err(); !errors.Is(err, context.Canceled) {
					t.Errorf("a cancelled call: %v", err)
				}
			default:
				if got, err := rdb.Eval(t.Context(), `return 7`, nil).Int(); got != 7 || err != nil {
					t.Errorf("%d, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

// A caller who gives up does not wait for the pipeline, and a flight that hangs does
// not keep those that come after it.
func TestAHangingFlightKeepsNobody(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	broker.Batch(rdb)
	hang := &hangs{until: make(chan struct{}), hanging: make(chan struct{})}
	rdb.AddHook(hang)
	var first sync.WaitGroup
	first.Go(func() {
		if got, err := rdb.Eval(t.Context(), `return 'hangs'`, nil).Text(); got != "hangs" || err != nil {
			t.Errorf("the one that hung: %q, %v", got, err)
		}
	})
	<-hang.hanging
	gone, cancel := context.WithCancel(t.Context())
	first.Go(cancel)
	if err := rdb.Eval(gone, `return 1`, nil).Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("who has given up: %v", err)
	}
	for range 3 {
		if got, err := rdb.Eval(t.Context(), `return 7`, nil).Int(); got != 7 || err != nil {
			t.Errorf("behind the one that hangs: %d, %v", got, err)
		}
	}
	close(hang.until)
	first.Wait()
}

// hangs keeps the first script for as long as it is told to.
type hangs struct {
	begun   atomic.Bool
	hanging chan struct{}
	until   chan struct{}
}

func (*hangs) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*hangs) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *hangs) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !h.begun.Swap(true) {
			close(h.hanging)
			<-h.until
		}
		return next(ctx, cmd)
	}
}

// A goroutine that sends batches keeps its connection. A batch that meets one that Redis has
// closed is sent again on another, so that no script fails.
func TestAClosedConnectionKeepsNobody(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	target, err := redisconn.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb := target.Open(redisconn.Servers)
	t.Cleanup(func() { _ = rdb.Close() })
	broker.Batch(rdb)
	var done, closed atomic.Int64
	const each = 200
	call := func() {
		for range each {
			if err := rdb.Eval(context.Background(), `return redis.call('INCR', KEYS[1])`, []string{"n"}).Err(); err != nil {
				t.Error(err)
			}
			done.Add(1)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(call)
	}
	for done.Load() < 8*each {
		n, err := server.Client().ClientKillByFilter(context.Background(), "TYPE", "normal", "SKIPME", "yes").Result()
		if err != nil {
			t.Fatal(err)
		}
		closed.Add(n)
		for next := done.Load() + each/2; done.Load() < min(next, 8*each); {
			runtime.Gosched()
		}
	}
	all.Wait()
	if closed.Load() == 0 {
		t.Error("no connection was closed")
	}
	if n, err := rdb.Get(t.Context(), "n").Int64(); err != nil || n < 8*each {
		t.Errorf("%d of %d scripts were carried out, %v", n, 8*each, err)
	}
}
