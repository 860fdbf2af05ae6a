package tasks

import (
	"context"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
	"errand.internal/internal/worker"
)

// Payload is a payload of any task type. It is stored as JSON; its methods return the
// type's name and the policy by which the task runs.
type Payload = worker.Payload

// Task is a payload whose result is an R. The packages of the vendors, below this one,
// have the payload types.
type Task[R any] interface {
	Payload
	// Result only declares the type of the result; its value is not used.
	Result() R
}

// None is the result of tasks that return nothing.
type None struct{}

// Reply is a vendor's unchanged answer to a free call.
type Reply = clients.Reply

// Policy says how a task runs: its queue, how long it is retried, and what happens
// after an attempt in doubt.
type Policy = broker.Policy

// Backoff is the delay between the attempts of a task: exponential with full jitter.
type Backoff = broker.Backoff

// Redelivery says what happens to a task after an attempt that may have taken effect,
// because the answer was lost or the worker died.
type Redelivery = broker.Redelivery

// The redeliveries.
const (
	// AtMostOnce ends the task Unknown.
	AtMostOnce = broker.AtMostOnce
	// AtLeastOnce runs the task again: a second run does no harm.
	AtLeastOnce = broker.AtLeastOnce
	// Reconciled runs the task again only if the vendor confirms that the earlier attempt
	// had no effect.
	Reconciled = broker.Reconciled
)

// Intent orders tasks that open and close access for the same subject.
type Intent = broker.Intent

// The roles of an Intent.
const (
	// Opens says that a later task that closes supersedes this one.
	Opens = broker.Opens
	// Closes says that this task supersedes earlier ones that open.
	Closes = broker.Closes
)

// A Handler runs one attempt of a task. Its error is a *clients.Error that says what
// happened; the worker decides what that means for the task.
type Handler[P Task[R], R any] func(ctx context.Context, p P) (R, error)

// A Reconciler asks the vendor whether an earlier attempt took effect. If it did,
// found is true and result is what the Handler would have returned. An error means
// that the vendor did not say.
type Reconciler[P Task[R], R any] func(ctx context.Context, p P) (result R, found bool, err error)

// TaskID returns the ID of the task that a handler runs. It is the same in every
// attempt.
func TaskID(ctx context.Context) string {
	return worker.TaskID(ctx)
}

// Info describes a task type.
type Info struct {
	// Type is the name of the type, such as "danaconnect:otp:send".
	Type string
	// Vendor is the name of the vendor that the task calls.
	Vendor string
	// Summary says in one phrase what the task does.
	Summary string
	// Example is a valid payload.
	Example Payload

	decode func(raw []byte) (Payload, error)
}

// Field describes a field of a payload.
type Field = payload.Field

// Fields describes the fields of the payload.
func (i Info) Fields() []Field {
	return payload.Describe(i.Example)
}

// Decode decodes a payload strictly and validates it. Its error is a *PayloadError
// that names every invalid field.
func (i Info) Decode(raw []byte) (Payload, error) {
	return i.decode(raw)
}

// PerPayload reports whether the Redelivery depends on the payload: its field
// "idempotent" decides between AtLeastOnce and AtMostOnce.
func (i Info) PerPayload() bool {
	for _, f := range i.Fields() {
		if f.Path == "idempotent" {
			return true
		}
	}
	return false
}
