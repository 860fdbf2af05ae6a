package queue_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/internal/queue"
)

// breakAck fails the first acknowledgement that asynq writes, as a connection
// does that breaks at the wrong moment.
type breakAck struct{ broken atomic.Int32 }

func (*breakAck) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*breakAck) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *breakAck) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") && strings.Contains(cmd.String(), ":completed") && strings.Contains(cmd.String(), ":active") && b.broken.Add(1) == 1 {
			err := &net.OpError{Op: "write", Err: errors.New("broken by the test")}
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// Without the hook asynq's own retry of the acknowledgement runs under a
// context that is cancelled already, never succeeds, and the finished task is
// run again after its lease.
func TestAcknowledgementSurvivesABrokenConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:acked", queue.Policy{}, func(context.Context, string) (any, error) { return nil, nil }))
	breaker := &breakAck{}
	r.work(func(c *queue.Config) {
		rdb := r.redis.Client()
		rdb.AddHook(breaker)
		c.Redis = rdb
	})
	id := r.enqueue("t:acked").ID
	r.wait(id)
	if state := r.asynqState(id); state != asynq.TaskStateCompleted {
		t.Errorf("asynq says %s, want completed", state)
	}
	if n := breaker.broken.Load(); n < 2 {
		t.Errorf("%d acknowledgements seen; the first should have failed and been repeated", n)
	}
}

// asynq's scripts take a task off the active list, find no lease, and stop:
// without the hook it would be in no list from then on.
func TestATaskWithoutALeaseIsAcknowledged(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		want asynq.TaskState
	}{
		{name: "done", want: asynq.TaskStateCompleted},
		{name: "again", err: fault(clients.Temporary, "HTTP 503"), want: asynq.TaskStateRetry},
		{name: "dead", err: fault(clients.Invalid, "HTTP 400"), want: asynq.TaskStateArchived},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			called, forgotten := make(chan struct{}), make(chan struct{})
			r := newRig(t, define("t:leaseless", queue.Policy{Backoff: queue.Backoff{Base: time.Hour, Max: time.Hour}, Budget: 24 * time.Hour, Redelivery: queue.AtLeastOnce}, func(context.Context, string) (any, error) {
				close(called)
				<-forgotten
				return nil, tc.err
			}))
			r.work()
			id := r.enqueue("t:leaseless").ID
			<-called
			if n := client(r).Del(t.Context(), "asynq:{otp}:lease").Val(); n != 1 {
				t.Error("there was no lease to forget")
			}
			close(forgotten)
			if state := r.asynqState(id); state != tc.want {
				t.Errorf("asynq says %s, want %s", state, tc.want)
			}
			for _, list := range []string{"active", "pending"} {
				if n := client(r).LLen(t.Context(), "asynq:{otp}:"+list).Val(); n != 0 {
					t.Errorf("%d tasks are left %s", n, list)
				}
			}
			if n := client(r).ZCard(t.Context(), "asynq:{otp}:lease").Val(); n != 0 {
				t.Errorf("%d leases are left", n)
			}
		})
	}
}

func TestExpiredContextsAreNotRevived(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:none", queue.Policy{}, nil))
	var server *redis.Client
	r.work(func(c *queue.Config) {
		server = r.redis.Client()
		c.Redis = server
	})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Eval(cancelled, "return 1", nil).Err(); err != nil {
		t.Errorf("a cancelled context: %v, want it revived", err)
	}
	lapsed, cancel := context.WithDeadline(t.Context(), time.Now().Add(20*time.Millisecond))
	cancel() // cancelled first, as asynq does; its deadline passes later
	<-time.After(30 * time.Millisecond)
	if err := server.Eval(lapsed, "return 1", nil).Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("past the lease: %v, want it refused", err)
	}
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := server.Eval(expired, "return 1", nil).Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an expired context: %v, want it refused", err)
	}
	if err := server.Get(cancelled, "x").Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("a command that is no script: %v, want it refused", err)
	}
}
