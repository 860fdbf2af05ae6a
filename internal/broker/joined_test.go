package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// jam keeps scripts that are sent alone, so that those behind them travel together. It
// sends each pipeline twice if told to, as go-redis does when the replies were lost.
type jam struct {
	twice bool

	begun chan struct{}
	over  chan struct{}
	// most is the most tasks that one call had.
	most atomic.Int32
}

func (*jam) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *jam) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "eval" && len(cmd.Args()) == 3 {
			close(h.begun)
			<-h.over
		}
		return next(ctx, cmd)
	}
}

func (h *jam) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "evalsha" {
				h.most.Store(max(h.most.Load(), int32(len(cmd.Args())-5)))
			}
		}
		if h.twice {
			_ = next(ctx, cmds)
		}
		return next(ctx, cmds)
	}
}

// jammed is a client on which scripts travel together that are called by together.
func (r *rig) jammed(twice bool) (*redis.Client, *jam) {
	c := r.client()
	broker.Batch(c)
	h := &jam{twice: twice}
	c.AddHook(h)
	return c, h
}

// together runs do n times at once, behind a script that does not come back, until some
// of the calls were one.
func (h *jam) together(t *testing.T, c *redis.Client, n int, do func(i int)) {
	t.Helper()
	h.most.Store(0)
	for round := 0; h.most.Load() < 2; round++ {
		if round == 20 {
			t.Fatal("no two tasks share a call")
		}
		h.begun, h.over = make(chan struct{}), make(chan struct{})
		var first, all sync.WaitGroup
		first.Go(func() { c.Eval(context.Background(), `return 1`, nil) })
		<-h.begun
		for i := range n {
			all.Go(func() { do(round*n + i) })
		}
		all.Wait()
		close(h.over)
		first.Wait()
	}
}

// Tasks that share a call have an answer and an effect each, also when the call is
// repeated because its reply was lost.
func TestTasksShareACall(t *testing.T) {
	t.Parallel()
	for _, twice := range []bool{false, true} {
		t.Run(fmt.Sprint("twice=", twice), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			rdb, jam := r.jammed(twice)
			producer := broker.NewProducer(rdb, record.New(rdb), nil)
			if _, err := producer.Enqueue(t.Context(), sample(keyed("both"))); err != nil { // Redis learns the script
				t.Fatal(err)
			}
			var created, duplicates atomic.Int32
			jam.together(t, rdb, 30, func(i int) {
				key := fmt.Sprint("k", i)
				if i%3 == 0 {
					key = "both"
				}
				ticket, err := producer.Enqueue(context.Background(), sample(keyed(key)))
				switch {
				case err != nil:
					t.Error(err)
				case ticket.Duplicate != (key == "both"):
					t.Errorf("key %s: %+v", key, ticket)
				case ticket.Duplicate:
					duplicates.Add(1)
				default:
					created.Add(1)
				}
			})
			if duplicates.Load() == 0 {
				t.Error("none was a duplicate")
			}
			r.check()

			cfg := r.config("together")
			cfg.General = rdb
			s := r.newServer(cfg)
			claims, err := s.Take(t.Context(), queue, 1000)
			if err != nil || len(claims) != int(created.Load())+1 {
				t.Fatalf("took %d tasks of %d, %v", len(claims), created.Load()+1, err)
			}
			if err := claims[0].End(ended(record.Done)); err != nil { // Redis learns the script
				t.Fatal(err)
			}
			claims = claims[1:]
			outcomes := []record.Outcome{record.Done, record.Failed, ""}
			jam.together(t, rdb, len(claims), func(i int) {
				if err := claims[i%len(claims)].End(broker.Result{Outcome: outcomes[i%3], Message: fmt.Sprint("m", i)}); err != nil {
					t.Error(err)
				}
			})
			r.check()
			done, failed := int64(1), int64(0)
			for i, c := range claims {
				got := r.get(c.ID)
				if want := outcomes[i%3]; got.Outcome != want || got.Message != fmt.Sprint("m", i) {
					t.Errorf("%s ended %q, %q; want %q", c.ID, got.Outcome, got.Message, want)
				}
				switch got.Outcome {
				case record.Done:
					done++
				case record.Failed:
					failed++
				}
			}
			r.counted("processed", done+failed)
			r.counted("failed", failed)
		})
	}
}

// What goes wrong with one task of a call is its own error.
func TestAnErrorInASharedCallIsItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rdb, jam := r.jammed(false)
	producer := broker.NewProducer(rdb, record.New(rdb), nil)
	if _, err := producer.Enqueue(t.Context(), sample(keyed("broken"))); err != nil {
		t.Fatal(err)
	}
	for _, key := range r.rdb.Keys(t.Context(), "errand:{otp}:key:*").Val() {
		r.rdb.Del(t.Context(), key)
		r.rdb.SAdd(t.Context(), key, "a foreign hand")
	}
	jam.together(t, rdb, 20, func(i int) {
		if i%2 == 0 {
			_, err := producer.Enqueue(context.Background(), sample(keyed("broken")))
			if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
				t.Errorf("the error is %v", err)
			}
			return
		}
		if _, err := producer.Enqueue(context.Background(), sample(keyed(fmt.Sprint("k", i)))); err != nil {
			t.Error(err)
		}
	})
}

// A call of one task that answers nothing is redis.Nil for its caller only.
func TestNothingInASharedCallIsItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue()
	rdb, jam := r.jammed(false)
	cfg := r.config("together")
	cfg.General = rdb
	s := r.newServer(cfg)
	claims, err := s.Take(t.Context(), queue, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.end(claims[0], ended(record.Done))
	var taken atomic.Int32
	for range 5 {
		r.enqueue()
	}
	jam.together(t, rdb, 10, func(int) {
		claims, err := s.Take(context.Background(), queue, 1)
		if len(claims) == 1 && err == nil {
			taken.Add(1)
		} else if !errors.Is(err, redis.Nil) {
			t.Errorf("took %v, %v", claims, err)
		}
	})
	if taken.Load() != 5 {
		t.Errorf("took %d tasks, want 5", taken.Load())
	}
	r.check()
}
