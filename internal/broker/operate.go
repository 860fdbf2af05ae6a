package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// Operator does to tasks what an operator asks for by hand, through their records.
type Operator struct {
	server    *Server
	producer  *Producer
	rdb       redis.UniversalClient
	inspector *asynq.Inspector
}

// Operator returns the operator of a worker's tasks.
func (s *Server) Operator() *Operator {
	return &Operator{
		server:    s,
		producer:  &Producer{rdb: s.general, store: s.store}, // it cancels, and stores nothing
		rdb:       s.general,
		inspector: asynq.NewInspectorFromRedisClient(s.general),
	}
}

// Act writes a line of the operators' log.
func (o *Operator) Act(ctx context.Context, a record.Action) error {
	return o.server.store.Act(ctx, a)
}

// RefusedError says in one sentence why something cannot be done to a task. Nothing was
// changed.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string {
	return e.Reason
}

func refused(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

func refuseRunning(id string) error {
	return refused("%s is running: its call is on the way and cannot be taken back", id)
}

// Delete takes a task out of the queue. One that was never attempted ends cancelled; one
// that waits for its next attempt ends failed, or unknown if it may have happened; of
// one that has ended asynq's copy is deleted, and its record stays. It returns a
// *RefusedError for one that runs, and record.ErrNotFound if there is none.
func (o *Operator) Delete(ctx context.Context, queue, id string) error {
	err := o.producer.cancel(ctx, queue, id)
	if started, ok := errors.AsType[*record.StartedError](err); ok && started.State == string(record.Running) {
		return refuseRunning(id)
	} else if !ok && !errors.Is(err, record.ErrNotFound) {
		return err
	}
	return o.end(ctx, queue, id, o.inspector.DeleteTask)
}

// Archive ends a task that waits for its next attempt as a dead letter: failed, or
// unknown if it may have happened. It returns a *RefusedError for any other, and
// record.ErrNotFound if there is none.
func (o *Operator) Archive(ctx context.Context, queue, id string) error {
	pipe := o.rdb.Pipeline()
	exists := pipe.Exists(ctx, asynqPrefix(queue)+"t:"+id)
	read := pipe.HMGet(ctx, record.Key(queue, id), "first", "crashes", "doubt", "outcome", "owner")
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	r := read.Val()
	switch {
	case exists.Val() == 0:
		return record.ErrNotFound
	case r[3] != nil:
		return refused("%s has ended %s, which stands", id, r[3])
	case r[4] != nil:
		return refuseRunning(id)
	case r[0] == nil && r[1] == nil && r[2] == nil:
		return refused("%s was never attempted, so it is no dead letter; Delete cancels it", id)
	}
	return o.end(ctx, queue, id, o.inspector.ArchiveTask)
}

// end takes a task out of asynq's lists, which asynq refuses for one that runs, and has
// the record agree.
func (o *Operator) end(ctx context.Context, queue, id string, take func(queue, id string) error) error {
	err := take(queue, id)
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return record.ErrNotFound
	case err != nil:
		if state, _ := o.rdb.HGet(ctx, asynqPrefix(queue)+"t:"+id, "state").Result(); state == "active" {
			return refuseRunning(id)
		}
		return fmt.Errorf("take the task out of the queue: %w", err)
	}
	// What fails here is found by the scan of the records.
	return o.server.EndForeign(ctx, queue, id)
}

// Run makes a task run now that is scheduled, waits for its next attempt, or is parked.
// It returns a *RefusedError for any other, and record.ErrNotFound if there is none.
func (o *Operator) Run(ctx context.Context, queue, id string) error {
	reply, err := run(ctx, o.rdb, hastenStep, queue, newArguments("id", id))
	if err != nil {
		return fmt.Errorf("make the task run now: %w", err)
	}
	switch answer := reply.Text(0); answer {
	case "hastened", "pending":
		return nil
	case "gone":
		return record.ErrNotFound
	case "running":
		return refused("%s is running already", id)
	case "doubt":
		return refused("%s may have happened; the vendor is asked about it once a call would surely be over", id)
	case "closing":
		return refused("%s closes an access and keeps its pauses, so that nothing opens the access after it", id)
	default:
		return refused(
			"%s has ended %s and does not run again; a dead letter is run again with worker dead-letters replay",
			id, answer,
		)
	}
}

// Cancel always returns a *RefusedError: a call that has left is never broken off.
func (*Operator) Cancel(_ context.Context, _, id string) error {
	return refuseRunning(id)
}

// List returns the tasks that asynq has in a state: pending, active, scheduled, retry,
// archived or completed.
func (o *Operator) List(ctx context.Context, queue, state string) ([]string, error) {
	key := asynqPrefix(queue) + state
	if state == "pending" || state == "active" {
		return o.rdb.LRange(ctx, key, 0, -1).Result()
	}
	return o.rdb.ZRange(ctx, key, 0, -1).Result()
}

// Pause keeps the tasks of a queue from starting, or lets them start again. It may be
// repeated.
func (o *Operator) Pause(ctx context.Context, queue string, paused bool) error {
	known, err := o.rdb.SIsMember(ctx, record.QueuesKey, queue).Result()
	if err != nil {
		return fmt.Errorf("read the queues: %w", err)
	}
	if _, ours := o.server.dispatches[queue]; !known && !ours {
		return record.ErrNotFound
	}
	n, err := o.rdb.Exists(ctx, asynqPrefix(queue)+"paused").Result()
	switch {
	case err != nil:
		return fmt.Errorf("read whether the queue is paused: %w", err)
	case (n > 0) == paused:
		return nil
	case paused:
		return o.inspector.PauseQueue(queue)
	}
	return o.inspector.UnpauseQueue(queue)
}

// Attempts returns how often each task was attempted, as far as that counts.
func (o *Operator) Attempts(ctx context.Context, queue string, ids []string) (map[string]int64, error) {
	pipe := o.rdb.Pipeline()
	replies := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		replies[i] = pipe.HGet(ctx, record.Key(queue, id), "attempts")
	}
	if len(ids) > 0 {
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("read the attempts: %w", err)
		}
	}
	attempts := make(map[string]int64, len(ids))
	for i, id := range ids {
		attempts[id], _ = replies[i].Int64()
	}
	return attempts, nil
}
