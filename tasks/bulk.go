package tasks

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
)

// bulkConcurrency is how many tasks EnqueueAll enqueues concurrently.
const bulkConcurrency = 32

// BulkError says which task of a list was not enqueued and why.
type BulkError struct {
	Index int
	Err   error
}

// Error implements error.
func (e *BulkError) Error() string {
	return fmt.Sprintf("task %d: %v", e.Index, e.Err)
}

// Unwrap returns the cause.
func (e *BulkError) Unwrap() error {
	return e.Err
}

// EnqueueAll enqueues many tasks of one type concurrently, those with the same Key one
// after the other, so that the first one in the list wins. The ticket of list[i] is at
// index i; it is nil if the task was not enqueued, and the error contains a *BulkError
// for it. options, which may be nil, returns the options of each task.
//
// If every task has a Key, the list may be enqueued again after an error: only the
// missing tasks are then added.
func EnqueueAll[R any, T Task[R]](
	ctx context.Context,
	c Enqueuer,
	list []T,
	options func(i int) []Option,
) ([]*Ticket[R], error) {
	tickets := make([]*Ticket[R], len(list))
	faults := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(bulkConcurrency)
	latest := map[string]chan struct{}{} // by key; closed when the task is enqueued or refused
	for i, task := range list {
		var opts []Option
		if options != nil {
			opts = options(i)
		}
		key := bulkKey(task, opts)
		earlier := latest[key]
		done := make(chan struct{})
		if key != "" {
			latest[key] = done
		}
		group.Go(func() error {
			defer close(done)
			if earlier != nil {
				<-earlier
			}
			ticket, err := Enqueue(ctx, c, Task[R](task), opts...)
			if err != nil {
				faults[i] = &BulkError{Index: i, Err: err}
				return nil // the other tasks are still enqueued
			}
			tickets[i] = ticket
			return nil
		})
	}
	_ = group.Wait()
	return tickets, errors.Join(faults...)
}

// bulkKey returns the key with which a task will be enqueued, "" if it has none or is
// refused.
func bulkKey(task Payload, opts []Option) string {
	clean, _ := payload.Clean(task)
	var job broker.Job
	for _, opt := range opts {
		opt(&job)
	}
	key, err := KeyOf(clean, job.Key)
	if err != nil {
		return ""
	}
	return key
}
