package tasks

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// bulkAtOnce is how many enqueueings of EnqueueAll are under way at once.
const bulkAtOnce = 32

// BulkError says which task of a list was not enqueued, and why.
type BulkError struct {
	Index int
	Err   error
}

// Error implements error.
func (e *BulkError) Error() string {
	return fmt.Sprintf("task %d: %v", e.Index, e.Err)
}

// Unwrap gives the cause.
func (e *BulkError) Unwrap() error {
	return e.Err
}

// EnqueueAll enqueues many tasks of one type, several at once. The tickets
// stand where their tasks do; one that was not enqueued has nil there and a
// *BulkError in the error. options, which may be nil, gives the options of each
// task; with a Key per task the whole list may simply be enqueued again after
// an error, and only what is missing is enqueued.
func EnqueueAll[R any, T Task[R]](
	ctx context.Context,
	c *Client,
	list []T,
	options func(i int) []Option,
) ([]*Ticket[R], error) {
	tickets, faults := make([]*Ticket[R], len(list)), make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(bulkAtOnce)
	for i, task := range list {
		group.Go(func() error {
			var opts []Option
			if options != nil {
				opts = options(i)
			}
			ticket, err := Enqueue(ctx, c, Task[R](task), opts...)
			if err != nil {
				faults[i] = &BulkError{Index: i, Err: err}
				return nil // the others go on
			}
			tickets[i] = ticket
			return nil
		})
	}
	_ = group.Wait()
	return tickets, errors.Join(faults...)
}
