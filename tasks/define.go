package tasks

import (
	"context"
	"fmt"
	"reflect"

	"errand.internal/clients"
	"errand.internal/internal/payload"
	"errand.internal/internal/worker"
)

// Definition is a task type that needs an account whose client is a C. Define and
// DefineReconciled return it.
type Definition[C any] struct {
	info      Info
	run       func(C) func(ctx context.Context, p Payload) (any, error)
	reconcile func(C) func(ctx context.Context, p Payload) (any, bool, error)
}

// Define defines a task type. summary says in one phrase what it does. example is a
// valid payload that succeeds in the vendor's sandbox. handler returns the Handler for
// an account's client.
func Define[C any, P Task[R], R any](
	summary string,
	example P,
	handler func(C) Handler[P, R],
) Definition[C] {
	if example.Policy().Redelivery == Reconciled {
		panic(fmt.Sprintf("tasks: %s is Reconciled: define it with DefineReconciled", example.Type()))
	}
	return define(summary, example, handler)
}

// DefineReconciled is Define for a task whose Policy is Reconciled.
func DefineReconciled[C any, P Task[R], R any](
	summary string,
	example P,
	handler func(C) Handler[P, R],
	reconciler func(C) Reconciler[P, R],
) Definition[C] {
	if example.Policy().Redelivery != Reconciled {
		panic(fmt.Sprintf("tasks: %s is not Reconciled: define it with Define", example.Type()))
	}
	d := define(summary, example, handler)
	d.reconcile = func(client C) func(context.Context, Payload) (any, bool, error) {
		reconcile := reconciler(client)
		return func(ctx context.Context, p Payload) (any, bool, error) {
			return reconcile(clients.WithRepeatable(ctx, true), p.(P)) // it only asks
		}
	}
	return d
}

func define[C any, P Task[R], R any](
	summary string,
	example P,
	handler func(C) Handler[P, R],
) Definition[C] {
	return Definition[C]{
		info: Info{
			Type:    example.Type(),
			Summary: summary,
			Example: example,
			decode: func(raw []byte) (Payload, error) {
				var p P
				if err := payload.Decode(raw, &p); err != nil {
					return nil, err
				}
				return p, nil
			},
		},
		run: func(client C) func(context.Context, Payload) (any, error) {
			run := handler(client)
			return func(ctx context.Context, p Payload) (any, error) {
				// Policy alone says what may happen twice. The clients learn it here, so that no
				// handler can forget it.
				ctx = clients.WithRepeatable(ctx, p.Policy().Redelivery == AtLeastOnce)
				return storedResult(run(ctx, p.(P)))
			}
		},
	}
}

// storedResult returns a handler's result as the worker stores it. It is nil for
// None, and for a zero result beside an error: a zero stored with a refusal would look
// like a count.
func storedResult[R any](result R, err error) (any, error) {
	if _, none := any(result).(None); none {
		return nil, err
	}
	if err != nil && reflect.ValueOf(result).IsZero() {
		return nil, err
	}
	return result, err
}

// unbound returns the definition for a worker without an account: it decodes payloads
// but cannot run.
func (d Definition[C]) unbound() worker.Definition {
	return worker.Definition{
		Type:   d.info.Type,
		Base:   d.info.Example.Policy(),
		Decode: d.info.decode,
	}
}

// bind returns the definition for a worker with an account.
func (d Definition[C]) bind(client C) worker.Definition {
	bound := d.unbound()
	bound.Run = d.run(client)
	if d.reconcile != nil {
		bound.Reconcile = d.reconcile(client)
	}
	return bound
}
