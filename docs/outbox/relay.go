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
	if _, err := r.DB.Exec(ctx, "listen "+Channel); err != nil {
		return err
	}
	for {
		n, err := r.batch(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		idle, cancel := context.WithTimeout(ctx, 5*time.Second) // a notification may be lost
		_, err = r.DB.WaitForNotification(idle)
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return err
		}
	}
}

// batch enqueues the oldest rows that no other relay has, and returns how many they were.
func (r Relay) batch(ctx context.Context) (n int, err error) {
	return n, pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select id::text, type, payload::text from outbox
			where refused is null order by created limit 100 for update skip locked`)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		if err != nil {
			return err
		}
		n = len(list)
		for _, row := range list {
			if err := r.enqueue(ctx, tx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

type row struct{ ID, Type, Payload string }

func (r Relay) enqueue(ctx context.Context, tx pgx.Tx, row row) error {
	payload, err := r.Vendors.Decode(row.Type, []byte(row.Payload))
	if err == nil {
		_, err = r.Queue.EnqueuePayload(ctx, payload, tasks.Key(row.ID))
	}
	_, invalid := errors.AsType[*tasks.PayloadError](err)
	switch {
	case invalid, errors.Is(err, tasks.ErrUnknownType), errors.Is(err, tasks.ErrKeyConflict):
		_, err = tx.Exec(ctx, "update outbox set refused = $2 where id = $1", row.ID, err.Error())
	case err == nil:
		_, err = tx.Exec(ctx, "delete from outbox where id = $1", row.ID)
	}
	return err
}
