package queue

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// ackHook mends asynq's acknowledgement. asynq 0.26 writes the end of a task
// with a context that it cancels as soon as the first try has failed, and then
// hands the retry a closure over that same context: every retry fails with
// "context canceled", and the recoverer runs the finished task again
// (processor.go: markAsDone, markAsComplete, retry, archive). The hook lets
// scripts under a cancelled context through.
//
// It sits on the servers' own client alone, and never revives a context whose
// deadline has passed: that deadline is the lease, and after it the task may
// belong to somebody else.
type ackHook struct{}

// reviveFor bounds one revived command.
const reviveFor = 5 * time.Second

// DialHook implements redis.Hook.
func (ackHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessPipelineHook implements redis.Hook.
func (ackHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (ackHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		switch cmd.Name() {
		case "eval", "evalsha":
			if revived, cancel, ok := revive(ctx); ok {
				defer cancel()
				return next(revived, cmd)
			}
		}
		return next(ctx, cmd)
	}
}

func revive(ctx context.Context) (context.Context, context.CancelFunc, bool) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		return nil, nil, false
	}
	until := time.Now().Add(reviveFor)
	if lease, ok := ctx.Deadline(); ok {
		if !time.Now().Before(lease) {
			return nil, nil, false // the context was cancelled first and has run out since
		}
		if lease.Before(until) {
			until = lease
		}
	}
	revived, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	return revived, cancel, true
}
