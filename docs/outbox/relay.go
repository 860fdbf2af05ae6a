package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"errand.internal/tasks"
)

// Relay enqueues what is in the outbox. Several may run; each row is one relay's at a time.
type Relay struct {
	DB      *pgx.Conn // its own
	Queue   tasks.Enqueuer
	Vendors tasks.Vendors
}

// Run enqueues until ctx ends or an error occurs, after which it can run again: a row is
// deleted after its task is in Redis, and enqueued again if that fails in between. Its ID
// is the key, so the second time finds the first task.
func (r Relay) Run(ctx context.Context) error {
	_, err := r.DB.Exec(ctx, "listen "+Channel)
	for err == nil {
		err = pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error { return r.next(ctx, tx) })
		if errors.Is(err, pgx.ErrNoRows) {
			idle, cancel := context.WithTimeout(ctx, 5*time.Second) // a notification may be lost
			_, err = r.DB.WaitForNotification(idle)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				err = ctx.Err()
			}
		}
	}
	return err
}

// next enqueues the oldest row that no other relay has; pgx.ErrNoRows if there is none.
func (r Relay) next(ctx context.Context, tx pgx.Tx) error {
	var id, taskType, raw string
	if err := tx.QueryRow(ctx, `select id::text, type, payload::text from outbox where refused is null
		order by created limit 1 for update skip locked`).Scan(&id, &taskType, &raw); err != nil {
		return err
	}
	payload, err := r.Vendors.Decode(taskType, []byte(raw))
	if err == nil {
		_, err = r.Queue.EnqueuePayload(ctx, payload, tasks.Key(id))
	}
	_, invalid := errors.AsType[*tasks.PayloadError](err)
	if invalid || errors.Is(err, tasks.ErrUnknownType) || errors.Is(err, tasks.ErrKeyConflict) {
		_, err = tx.Exec(ctx, "update outbox set refused = $2 where id = $1", id, err.Error())
	} else if err == nil {
		_, err = tx.Exec(ctx, "delete from outbox where id = $1", id)
	}
	return err
}
