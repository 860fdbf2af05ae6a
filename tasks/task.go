package tasks

import (
	"context"

	"errand.internal/clients"
	"errand.internal/internal/ledger"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// Payload is what a task is made of: its JSON is the payload, its type's name and
// policy say how it is run.
type Payload = queue.Payload

// Task is a payload whose result is an R. The payload types are in the vendors'
// packages, below this one.
type Task[R any] interface {
	Payload
	// Result tells the type of the result; its value means nothing.
	Result() R
}

// None is the result of tasks that return nothing.
type None struct{}

// Reply is a vendor's answer to a free call, as it came.
type Reply = clients.Reply

// Policy says how tasks of a type are run.
type Policy = queue.Policy

// Backoff spreads the attempts of a task.
type Backoff = queue.Backoff

// Redelivery says what becomes of a task after an attempt that may have
// happened: the answer was lost, or the worker died.
type Redelivery = queue.Redelivery

// The redeliveries.
const (
	// AtMostOnce ends the task Unknown.
	AtMostOnce = queue.AtMostOnce
	// AtLeastOnce runs it again: a second run does no harm.
	AtLeastOnce = queue.AtLeastOnce
	// Reconciled asks the vendor first, and runs the task again only if the earlier
	// attempt left no trace there.
	Reconciled = queue.Reconciled
)

// Intent orders the tasks that open and close access for the same subject.
type Intent = ledger.Intent

// The roles of an Intent.
const (
	// Opens: the task is superseded by a later one that closes.
	Opens = ledger.Opens
	// Closes: earlier tasks that open are superseded.
	Closes = ledger.Closes
)

// A Handler runs one attempt of a task. Its error is a *clients.Error, which says
// what has happened; what becomes of the task is decided by the worker.
type Handler[P Task[R], R any] func(ctx context.Context, p P) (R, error)

// A Reconciler asks the vendor whether an earlier attempt took effect. found is
// true if it did, and result is what the handler would have returned; an error
// means that the vendor could not tell.
type Reconciler[P Task[R], R any] func(ctx context.Context, p P) (result R, found bool, err error)

// TaskID returns the ID of the task that a handler runs. It is the same in every
// attempt.
func TaskID(ctx context.Context) string {
	return queue.TaskID(ctx)
}

// Info describes a task type.
type Info struct {
	// Type is its name.
	Type string
	// Vendor is the name of the vendor it calls.
	Vendor string
	// Summary says in one phrase what the task does.
	Summary string
	// Example is a valid payload.
	Example Payload

	decode func(raw []byte) (Payload, error)
}

// Fields describes the payload.
func (i Info) Fields() []payload.Field {
	return payload.Describe(i.Example)
}

// Decode reads a payload strictly and checks its rules. Its error is a
// *PayloadError that names every field at fault.
func (i Info) Decode(raw []byte) (Payload, error) {
	return i.decode(raw)
}

// PerPayload reports whether the payload's field "idempotent" decides between
// AtLeastOnce and AtMostOnce.
func (i Info) PerPayload() bool {
	for _, f := range i.Fields() {
		if f.Path == "idempotent" {
			return true
		}
	}
	return false
}
