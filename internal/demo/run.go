package demo

import (
	"context"
	"errors"
	"fmt"

	"errand.internal/tasks"
)

// Run enqueues a task and waits for its result.
func Run[R any](ctx context.Context, c *tasks.Client, task tasks.Task[R], opts ...tasks.Option) (R, error) {
	ticket, err := tasks.Enqueue(ctx, c, task, opts...)
	if err != nil {
		var zero R
		return zero, err
	}
	return ticket.Wait(ctx)
}

// WantDuplicate enqueues a task whose key another task has, and returns an error
// if this stores a second one.
func WantDuplicate[R any](ctx context.Context, c *tasks.Client, task tasks.Task[R], opts ...tasks.Option) error {
	ticket, err := tasks.Enqueue(ctx, c, task, opts...)
	if err == nil && !ticket.Duplicate {
		err = errors.New("a second task was stored")
	}
	return err
}

// WantOutcome returns an error unless err, which Run returned, says that the task
// ended with the outcome. Done is no error, so it is not an outcome to ask for.
func WantOutcome(err error, want tasks.Outcome) error {
	if err == nil {
		return fmt.Errorf("the task ended %s, want %s", tasks.Done, want)
	}
	if ended, ok := errors.AsType[*tasks.OutcomeError](err); !ok || ended.Outcome != want {
		return fmt.Errorf("want outcome %s: %w", want, err)
	}
	return nil
}
