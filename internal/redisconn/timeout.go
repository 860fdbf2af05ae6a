package redisconn

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/timeout"
)

// timeoutHook bounds each command with all its retries. The timeouts of a client
// bound one dial or one read only, and a cluster or several sentinels multiply
// them.
type timeoutHook struct{ limit *timeout.Limit }

// DialHook implements redis.Hook.
func (timeoutHook) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h timeoutHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.bound(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h timeoutHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.bound(ctx, func(ctx context.Context) error { return next(ctx, cmds) })
	}
}

func (h timeoutHook) bound(ctx context.Context, call func(context.Context) error) error {
	bounded, cancel := h.limit.Context(ctx)
	defer cancel()
	err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("no answer from Redis within %v: %w", h.limit, err)
	}
	return err
}
