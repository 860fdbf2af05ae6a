package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
)

const (
	// bulkSize is how many tasks go to Redis together.
	bulkSize = 64
	// bulkConcurrency is how many such batches are under way: some are checked and sealed
	// while others are stored.
	bulkConcurrency = 4
)

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

// EnqueueAll enqueues many tasks of one type, several in each call to Redis, and those with
// the same Key in their order, so that the first one in the list wins. The ticket of list[i]
// is at index i; it is nil if the task was not enqueued, and the error contains a *BulkError
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
	var order broker.Order
	var group errgroup.Group
	group.SetLimit(bulkConcurrency)
	for first := 0; first < len(list); first += bulkSize {
		some := list[first:min(first+bulkSize, len(list))]
		opts := make([][]Option, len(some))
		for i := range some {
			if options != nil {
				opts[i] = options(first + i)
			}
		}
		turn := order.Next()
		group.Go(func() error {
			defer turn.Done()
			var b bulkBatch
			for i, task := range some {
				clean, problems := payload.Check(Task[R](task))
				if len(problems) > 0 {
					faults[first+i] = &BulkError{Index: first + i, Err: &PayloadError{Problems: problems}}
					continue
				}
				b.add(first+i, clean, opts[i])
			}
			turn.Wait(b.keys)
			stored, errs := c.EnqueuePayloads(ctx, b.payloads, func(i int) []Option { return b.options[i] })
			for i, at := range b.at {
				if errs[i] != nil {
					faults[at] = &BulkError{Index: at, Err: errs[i]}
					continue
				}
				tickets[at] = typed[R](c, stored[i])
			}
			return nil // the other tasks are enqueued all the same
		})
	}
	_ = group.Wait()
	return tickets, errors.Join(faults...)
}

// bulkBatch is what EnqueueAll enqueues together: payloads that have been checked.
type bulkBatch struct {
	payloads []Payload
	options  [][]Option
	keys     []string
	at       []int // in the list
}

func (b *bulkBatch) add(at int, p Payload, opts []Option) {
	b.payloads = append(b.payloads, p)
	b.options = append(b.options, opts)
	b.at = append(b.at, at)
	var job broker.Job
	for _, opt := range opts {
		opt(&job)
	}
	// One that is refused is refused again when it is enqueued.
	if key, err := KeyOf(p, job.Key); key != "" && err == nil {
		b.keys = append(b.keys, p.Type()+"\x00"+key)
	}
}

// EnqueuePayloads is EnqueuePayload for many payloads, in as few calls to Redis as it takes,
// in their order. The ticket of list[i], or why it has none, is at index i. options, which
// may be nil, returns the options of each.
func (c *Client) EnqueuePayloads(
	ctx context.Context,
	list []Payload,
	options func(i int) []Option,
) ([]*Ticket[json.RawMessage], []error) {
	tickets := make([]*Ticket[json.RawMessage], len(list))
	faults := make([]error, len(list))
	var jobs []broker.Job
	var at []int
	for i, p := range list {
		var opts []Option
		if options != nil {
			opts = options(i)
		}
		job, err := newJob(p, opts)
		if err != nil {
			faults[i] = err
			continue
		}
		jobs = append(jobs, job)
		at = append(at, i)
	}
	for i, stored := range c.producer.EnqueueAll(ctx, jobs) {
		tickets[at[i]], faults[at[i]] = c.ticket(stored.Ticket, stored.Err)
	}
	return tickets, faults
}
