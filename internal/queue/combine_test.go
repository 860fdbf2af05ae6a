package queue_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
)

// noPipelines breaks every pipeline, as a connection does on which one answer
// never comes.
type noPipelines struct{ broken atomic.Int32 }

func (*noPipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*noPipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (n *noPipelines) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		n.broken.Add(1)
		err := &net.OpError{Op: "read", Err: errors.New("broken by the test")}
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
		return err
	}
}

// One script that gets no answer takes none of those with it that went in the
// same pipeline.
func TestScriptsOfABrokenPipelineGoAlone(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	queue.Combine(rdb)
	pipelines := &noPipelines{}
	rdb.AddHook(pipelines)
	for round := 1; pipelines.broken.Load() == 0; round++ {
		const n = 200
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if err := rdb.Eval(t.Context(), `return redis.call('INCR', KEYS[1])`, []string{"n"}).Err(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got, err := rdb.Get(t.Context(), "n").Int(); err != nil || got != n*round {
			t.Fatalf("%d scripts were carried out, %v; want %d", got, err, n*round)
		}
	}
}
