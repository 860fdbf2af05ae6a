package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// Cancel ends a task that was never attempted. It returns record.ErrNotFound,
// record.ErrBadID or a *record.StartedError if there is nothing to cancel.
func (p *Producer) Cancel(ctx context.Context, id string) error {
	return p.store.InQueue(ctx, id, func(queue string) error {
		return p.cancel(ctx, queue, id)
	})
}

func (p *Producer) cancel(ctx context.Context, queue, id string) error {
	a := newArguments("id", id)
	reply, err := run(ctx, p.rdb, cancelStep, queue, a)
	if err == nil && reply.Text(0) == "unrecorded" {
		parts, _ := message(reply.Text(1)).parts()
		a.add("type", parts.taskType)
		a.add("once", newOnce(Policy{}.WithDefaults(), "").encode())
		reply, err = run(ctx, p.rdb, cancelStep, queue, a)
	}
	if err != nil {
		return fmt.Errorf("cancel the task: %w", err)
	}
	switch answer := reply.Text(0); answer {
	case string(record.Cancelled):
		return nil
	case "gone":
		return record.ErrNotFound
	default:
		return &record.StartedError{State: answer}
	}
}

// Unrecorded describes a task that a plain asynq client enqueued and that no worker of
// Errand has taken yet, so that it has no record. It returns record.ErrNotFound if
// there is none.
func (p *Producer) Unrecorded(ctx context.Context, id string) (*record.Record, error) {
	queue, err := p.store.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	prefix := asynqPrefix(queue)
	pipe := p.rdb.Pipeline()
	task := pipe.HMGet(ctx, prefix+"t:"+id, "msg", "state", "pending_since")
	scheduled := pipe.ZScore(ctx, prefix+"scheduled", id)
	retry := pipe.ZScore(ctx, prefix+"retry", id)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read the task: %w", err)
	}
	text := func(i int) string {
		s, _ := task.Val()[i].(string)
		return s
	}
	parts, _ := message(text(0)).parts()
	r := &record.Record{ID: id, Type: parts.taskType, Queue: queue}
	switch text(1) {
	case "pending":
		r.State = record.Pending
		r.Due = time.Unix(0, number(text(2)))
	case "scheduled":
		r.State = record.Scheduled
		r.Due = time.Unix(int64(scheduled.Val()), 0)
	case "retry":
		r.State = record.Retrying
		r.Next = time.Unix(int64(retry.Val()), 0)
	case "active":
		r.State = record.Running
	default: // another tool has ended it
		return nil, record.ErrNotFound
	}
	return r, nil
}
