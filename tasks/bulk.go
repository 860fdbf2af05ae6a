package tasks

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
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

// EnqueueAll enqueues many tasks of one type concurrently. The ticket of list[i] is
// at index i; it is nil if the task was not enqueued, and the error contains a
// *BulkError for it. options, which may be nil, returns the options of each task.
//
// If every task has a Key, the list may be enqueued again after an error: only the
// missing tasks are then added.
func EnqueueAll[R any, T Task[R]](
	ctx context.Context,
	c *Client,
	list []T,
	options func(i int) []Option,
) ([]*Ticket[R], error) {
	tickets := make([]*Ticket[R], len(list))
	faults := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(bulkConcurrency)
	for i, task := range list {
		group.Go(func() error {
			var opts []Option
			if options != nil {
				opts = options(i)
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
