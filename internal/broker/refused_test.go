package broker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/testwait"
)

// refused counts the scripts that Redis could not carry out for now.
type refused struct{ scripts atomic.Int32 }

func (*refused) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*refused) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *refused) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if strings.HasPrefix(cmd.Name(), "eval") && redisconn.NotNow(err) {
			h.scripts.Add(1)
		}
		return err
	}
}

// What must not be forgotten is written until Redis takes it: one that answers, and
// takes no writes, has not refused it for good.
func TestWhatRedisRefusesIsWrittenLater(t *testing.T) {
	t.Parallel()
	for _, refusal := range []struct {
		code          string
		refuse, allow []any
	}{
		{
			"NOREPLICAS",
			[]any{"CONFIG", "SET", "min-replicas-to-write", "1"},
			[]any{"CONFIG", "SET", "min-replicas-to-write", "0"},
		},
		{
			"READONLY", // a replica of a master that does not answer
			[]any{"REPLICAOF", "127.0.0.1", "1"},
			[]any{"REPLICAOF", "NO", "ONE"},
		},
	} {
		for _, tc := range []struct {
			name string
			prep func(r *rig) (id string, write func() error)
			want record.State
		}{
			{"a result", func(r *rig) (string, func() error) {
				c := r.start()
				return c.ID, func() error { return c.End(ended(record.Done)) }
			}, record.Ended},
			{"a plain asynq client's task", func(r *rig) (string, func() error) {
				r.end(r.take(), ended(record.Done))
				plain := asynq.NewTask("a:b", []byte(`{}`))
				if _, err := asynq.NewClientFromRedisClient(r.rdb).Enqueue(plain, asynq.Queue(queue)); err != nil {
					r.t.Fatal(err)
				}
				c := r.take()
				return c.ID, func() error { return c.Adopt(sample().Policy, false) }
			}, record.Pending},
			{"a forgotten claim", func(r *rig) (string, func() error) {
				before := r.snapshot()
				c := r.start()
				r.forget(before)
				return c.ID, r.replay
			}, record.Running},
			{"a forgotten result", func(r *rig) (string, func() error) {
				before := r.snapshot()
				c := r.start()
				r.end(c, ended(record.Done))
				r.forget(before)
				return c.ID, r.replay
			}, record.Ended},
		} {
			t.Run(refusal.code+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				seen := &refused{}
				r.servers["w1"] = r.newServer(r.config("w1", seen))
				r.enqueue()
				id, write := tc.prep(r)
				r.do(refusal.refuse...)
				written := make(chan error, 1)
				go func() { written <- write() }()
				testwait.Eventually(t, testwait.Limit, "it is tried again", func() bool { return seen.scripts.Load() > 2 })
				if state := r.get(id).State; state == tc.want {
					t.Fatalf("Redis took it: the task is %s", state)
				}
				r.do(refusal.allow...)
				if err := <-written; err != nil {
					t.Errorf("given up: %v", err)
				}
				testwait.Eventually(t, testwait.Limit, "it is written", func() bool { return r.get(id).State == tc.want })
				r.check()
			})
		}
	}
}

// replay has w1 replay its claims, and does not wait until it has.
func (r *rig) replay() error {
	r.server("w1").Replay()
	return nil
}

func (r *rig) do(args ...any) {
	r.t.Helper()
	if err := r.rdb.Do(r.t.Context(), args...).Err(); err != nil {
		r.t.Fatal(err)
	}
}
