package broker

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// serverHook sits beneath asynq's servers and answers in place of Redis:
//
//   - the question for a task with "none", when the worker stops and not before: the
//     slots get their tasks from the dispatch;
//   - the question for tasks whose lease has ended with "none": the reconciler finds
//     what dead workers leave behind;
//   - the forwarding of delayed tasks, by Redis' clock instead of the worker's. asynq asks
//     for those of scheduled first, which brings those of retry along.
//
// What a server tells of itself goes to Redis with what the slots run (tell). Everything
// else goes there as it is.
type serverHook struct {
	queues map[string]*dispatch // by asynq prefix
}

// DialHook implements redis.Hook.
func (h *serverHook) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

// ProcessPipelineHook implements redis.Hook.
func (h *serverHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h *serverHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		asked, ok := cmd.(*redis.Cmd)
		if !ok || !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		d, question := h.recognize(cmd.Args())
		switch question {
		case "dequeue":
			<-d.server.stopping
			return redis.Nil
		case "expired leases":
			asked.SetVal([]any{})
			return nil
		case "forward":
			return d.forward(ctx, asked)
		case "forward the others":
			asked.SetVal(int64(0))
			return nil
		case "tell":
			return d.tell(ctx, asked, next)
		}
		return next(ctx, cmd)
	}
}

// recognize tells which of asynq's scripts is called by the kinds of its keys.
func (h *serverHook) recognize(args []any) (d *dispatch, question string) {
	if teller := h.told(args); teller != nil {
		return teller, "tell"
	}
	n, _ := args[2].(int)
	kinds := ""
	for _, arg := range args[3:min(3+n, len(args))] {
		key, _ := arg.(string)
		i := strings.Index(key, "}:")
		if i < 0 {
			return nil, ""
		}
		owner := h.queues[key[:i+2]]
		if owner == nil || d != nil && d != owner {
			return nil, ""
		}
		d = owner
		kinds += " " + key[i+2:]
	}
	switch kinds {
	case " pending paused active lease":
		return d, "dequeue"
	case " lease":
		return d, "expired leases"
	case " scheduled pending":
		return d, "forward"
	case " retry pending":
		return d, "forward the others"
	}
	return nil, ""
}

// forward makes delayed tasks pending.
func (d *dispatch) forward(ctx context.Context, cmd *redis.Cmd) error {
	reply, err := run(ctx, d.rdb, forwardStep, d.queue, newArguments())
	if err != nil {
		return err
	}
	d.parked.Store(reply.Bool(1))
	d.looked.Store(time.Now().UnixNano())
	cmd.SetVal(reply.Int(0))
	return nil
}
