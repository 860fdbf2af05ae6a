// Package outbox is a recipe for tasks that an application enqueues together with a change
// of its own database: both happen or none, whichever process dies when.
//
// Copy it into your application. Add writes the task in the transaction of the change; a
// Relay takes it from there to Redis.
package outbox

import (
	"context"
	_ "embed" // of the schema
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"errand.internal/tasks"
)

// Schema creates the table.
//
//go:embed schema.sql
var Schema string

// Channel is notified of each task that is added.
const Channel = "outbox"

// Add adds a task in a transaction, to be enqueued once the transaction is committed. An
// invalid payload is a *tasks.PayloadError, and nothing is added.
func Add(ctx context.Context, tx pgx.Tx, vendors tasks.Vendors, p tasks.Payload) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if p, err = vendors.Decode(p.Type(), raw); err != nil {
		return err
	}
	if err := tasks.Check(p); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "insert into outbox (type, payload) values ($1, $2)", p.Type(), string(raw))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "select pg_notify($1, '')", Channel)
	return err
}
