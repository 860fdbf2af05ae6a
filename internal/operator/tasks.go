package operator

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"slices"
	"time"

	"errand.internal/internal/record"
)

// TaskFilter selects tasks; what is empty selects all.
type TaskFilter struct {
	Queue   string
	Type    string
	State   record.State
	Outcome record.Outcome
	// Since selects tasks that were stored since.
	Since time.Time
	// Key is the producer's, and needs Type. Subject is a recipient or a user. Redis has
	// digests of both only.
	Key     string
	Subject string
	// Limit is how many tasks are listed at most: the newest.
	Limit int
}

// maxTasks bounds TaskFilter.Limit, and so the memory of a list.
const maxTasks = 10_000

func (f TaskFilter) check(queues []string) error {
	states := []record.State{
		record.Pending, record.Scheduled, record.Running, record.Retrying, record.Parked, record.Ended,
	}
	outcomes := []record.Outcome{
		record.Done, record.Declined, record.Superseded, record.Cancelled,
		record.Invalid, record.Unknown, record.Expired, record.Failed,
	}
	limit := error(nil)
	if f.Limit < 1 || f.Limit > maxTasks {
		limit = usagef("--limit must be from 1 to %d", maxTasks)
	}
	key := error(nil)
	switch {
	case f.Key != "" && f.Type == "":
		key = usagef("--key needs --type: a key is one of its type")
	case f.Key != "" && f.Subject != "":
		key = usagef("--key and --subject exclude each other")
	case f.Outcome != "" && f.State != "" && f.State != record.Ended:
		key = usagef("--outcome needs --state ended, or none: only an ended task has one")
	}
	return cmp.Or(
		checkType(f.Type),
		oneOf("--queue", f.Queue, queues...),
		oneOf("--state", f.State, states...),
		oneOf("--outcome", f.Outcome, outcomes...),
		limit,
		key,
	)
}

func (f TaskFilter) matches(r *record.Record) bool {
	return (f.Type == "" || r.Type == f.Type) &&
		(f.State == "" || r.State == f.State) &&
		(f.Outcome == "" || r.Outcome == f.Outcome) &&
		!r.Created.Before(f.Since)
}

// Tasks returns the newest tasks that a filter selects, the newest first. more reports
// whether there are others. A task without a record, of a plain asynq client, is not
// listed before a worker has taken it.
func (o *Operator) Tasks(ctx context.Context, f TaskFilter) (found []*record.Record, more bool, err error) {
	queues, err := o.queues(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := f.check(queues); err != nil {
		return nil, false, err
	}
	switch {
	case f.Queue != "":
		queues = []string{f.Queue}
	case f.Type != "":
		queues = []string{definitions()[f.Type].Base.Queue}
	}
	var newest recordHeap
	keep := func(r *record.Record) error {
		if !f.matches(r) {
			return nil
		}
		if heap.Push(&newest, r); len(newest) > f.Limit {
			heap.Pop(&newest)
			more = true
		}
		return nil
	}
	for _, queue := range queues {
		if err := o.visit(ctx, queue, f, keep); err != nil {
			return nil, false, err
		}
	}
	found = slices.Clone([]*record.Record(newest))
	slices.SortFunc(found, func(a, b *record.Record) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return slices.CompactFunc(found, func(a, b *record.Record) bool { return a.ID == b.ID }), more, nil
}

// visit calls do for the tasks of a queue among which a filter selects.
func (o *Operator) visit(ctx context.Context, queue string, f TaskFilter, do func(*record.Record) error) error {
	if f.Subject != "" {
		found, err := o.store.BySubject(ctx, queue, f.Subject)
		if err != nil {
			return err
		}
		for _, r := range found {
			if err := do(r); err != nil {
				return err
			}
		}
		return nil
	}
	if f.Key == "" {
		return o.store.EachRecord(ctx, queue, do)
	}
	id, _, err := o.store.ByKey(ctx, queue, f.Type, f.Key)
	if errors.Is(err, record.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := o.store.Get(ctx, id)
	if errors.Is(err, record.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return do(r)
}

// recordHeap has the oldest of its records first.
type recordHeap []*record.Record

// Len implements heap.Interface.
func (h recordHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h recordHeap) Less(i, j int) bool { return h[i].Created.Before(h[j].Created) }

// Swap implements heap.Interface.
func (h recordHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *recordHeap) Push(x any) { *h = append(*h, x.(*record.Record)) }

// Pop implements heap.Interface.
func (h *recordHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
