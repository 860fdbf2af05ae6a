package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// joined are calls that share a command.
type joined struct {
	calls []*batched
	cmd   *redis.Cmd
}

// join makes one command of the calls of the same step in the same queue, for their tasks
// in that order. Everything else has a command of its own. Who has given up has none.
func join(ctx context.Context, batch []*batched) []*joined {
	var commands []*joined
	steps := map[[2]string]*joined{}
	for _, c := range batch {
		if err := c.ctx.Err(); err != nil {
			c.cmd.SetErr(err)
			close(c.done)
			continue
		}
		key, ok := stepCall(c.cmd.Args())
		if same := steps[key]; ok && same != nil {
			same.calls = append(same.calls, c)
			continue
		}
		one := &joined{calls: []*batched{c}, cmd: c.cmd}
		commands = append(commands, one)
		if ok {
			steps[key] = one
		}
	}
	for _, j := range commands {
		if len(j.calls) == 1 {
			continue
		}
		args := slices.Clip(j.cmd.Args())
		for _, c := range j.calls[1:] {
			args = append(args, c.cmd.Args()[stepArguments])
		}
		j.cmd = redis.NewCmd(ctx, args...)
	}
	return commands
}

// unanswered reports whether Redis has not replied.
func (j *joined) unanswered() bool {
	err := j.cmd.Err()
	if err == nil {
		return false
	}
	_, replied := errors.AsType[redis.Error](err)
	return !replied
}

// share gives each call its own part of the answer.
func (j *joined) share() {
	if len(j.calls) == 1 {
		return
	}
	answers, err := j.cmd.Slice()
	if err == nil && len(answers) != len(j.calls) {
		err = fmt.Errorf("redis answered for %d tasks of %d", len(answers), len(j.calls))
	}
	for i, c := range j.calls {
		if err != nil {
			c.cmd.SetErr(err)
			continue
		}
		switch answer := answers[i].(type) {
		case nil:
			c.cmd.SetErr(redis.Nil)
		case error:
			c.cmd.SetErr(answer)
		default:
			c.cmd.SetVal(answer)
		}
	}
}
