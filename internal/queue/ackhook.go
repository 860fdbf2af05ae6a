package queue

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ackHook mends asynq's acknowledgement in two places.
//
// asynq 0.26 writes the end of a task with a context that it cancels as soon as
// the first try has failed, and then hands the retry a closure over that same
// context: every retry fails with "context canceled", and the recoverer runs
// the finished task again (processor.go: markAsDone, markAsComplete, retry,
// archive). The hook lets scripts under a cancelled context through. It never
// revives a context whose deadline has passed: that deadline is the lease, and
// after it the task may belong to somebody else.
//
// And asynq's scripts take a task off the active list before they look for its
// lease, and stop halfway if there is none: the task is then in no list at all,
// and nobody ever looks at it again. The hook puts it back on the list, with a
// lease, and has the script run once more.
//
// It sits on the servers' own client alone.
type ackHook struct{ rdb redis.UniversalClient }

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
func (h ackHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		if revived, cancel, ok := revive(ctx); ok {
			defer cancel()
			ctx = revived
		}
		err := next(ctx, cmd)
		if err != nil && err.Error() == halfway && h.relist(ctx, cmd) {
			cmd.SetErr(nil)
			return next(ctx, cmd)
		}
		return err
	}
}

// halfway is how asynq's scripts say that the task is not on the active list,
// or was and has no lease.
const halfway = "NOT FOUND"

// relist puts the task of an acknowledgement back on the active list if it is
// in no list, and reports whether it was.
func (h ackHook) relist(ctx context.Context, cmd redis.Cmder) bool {
	var active, lease, task string
	for _, arg := range cmd.Args()[3:] {
		key, _ := arg.(string)
		switch {
		case strings.HasSuffix(key, ":active"):
			active = key
		case strings.HasSuffix(key, ":lease"):
			lease = key
		case strings.HasPrefix(key, "asynq:") && strings.Contains(key, "}:t:") && task == "":
			task = key
		}
	}
	_, id, _ := strings.Cut(task, "}:t:")
	if active == "" || lease == "" || id == "" {
		return false
	}
	n, err := relistScript.Run(ctx, h.rdb, []string{active, lease, task}, id, leaseFor.Seconds()).Int()
	return err == nil && n == 1 // on an error the sweeper finds the task
}

// leaseFor is the time that asynq gives a lease (internal/rdb: LeaseDuration).
const leaseFor = 30 * time.Second

// relistScript puts a task on asynq's active list that says it is active and is
// not there: only a script that stopped halfway leaves one so.
//
// KEYS: active, lease, task
// ARGV: id, seconds of the lease
var relistScript = redis.NewScript(`
if redis.call('HGET', KEYS[3], 'state') ~= 'active' then return 0 end
if redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[2], ARGV[1])
return 1
`)

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
