package tasks

import (
	"context"
	"reflect"

	"errand.internal/clients/anna"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/clients/danaconnect/contacts"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
	"errand.internal/internal/events"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// Task is a payload together with the type of its result.
type Task[R any] interface {
	queue.Payload
	result() R
}

// None is the result of tasks that return nothing.
type None struct{}

// Vendors are the clients that the handlers call, one account each. A nil one
// has no credentials on this worker; its tasks wait for a worker that has them.
type Vendors struct {
	DANAConnectOTP *otp.Client
	// Recipients guards those who get passcodes; nil without OTP_RECIPIENT_LIMIT.
	Recipients *Recipients
	// DANAConnectContacts has the login of DANAConnectOTP, DANAConnectAPI a client
	// of API 2.0.
	DANAConnectContacts *contacts.Client
	DANAConnectAPI      *api.Client
	AnnA                *anna.Client
	DCKAP               *dckap.Client
	Dinero              *dinero.Client
	// Events delivers events; nil without a receiver.
	Events EventSender
	// Changes notices changed values, so that there are events to deliver; nil
	// without a receiver.
	Changes *events.Detector
}

// handler runs a task once.
type handler[P Task[R], R any] func(ctx context.Context, p P) (R, error)

// Info is what is to be known about a task type.
type Info struct {
	Type string
	// Summary is one phrase on what the task does.
	Summary string
	// Vendor whose API it calls.
	Vendor string
	// Example is a payload that is valid.
	Example queue.Payload
	// Internal: Errand enqueues it itself, and nobody else can.
	Internal bool
	// Findable: if it may have happened, it is looked for before it is run again.
	Findable bool
}

// Fields describes the payload.
func (i Info) Fields() []payload.Field {
	return payload.Describe(i.Example)
}

type entry struct {
	Info
	decode func(raw []byte) (queue.Payload, error)
	run    func(v Vendors) func(ctx context.Context, p queue.Payload) (any, error)
	find   func(v Vendors) func(ctx context.Context, p queue.Payload) (any, bool, error)
	on     account
}

// finder looks whether a task that may have happened did.
type finder[P Task[R], R any] func(ctx context.Context, p P) (result R, found bool, err error)

// findable adds to a line of the catalogue how the task is looked for.
func findable[P Task[R], R any](e entry, bind func(Vendors) finder[P, R]) entry {
	e.Findable = true
	e.find = func(v Vendors) func(context.Context, queue.Payload) (any, bool, error) {
		if !e.on.has(v) {
			return nil
		}
		find := bind(v)
		return func(ctx context.Context, p queue.Payload) (any, bool, error) {
			return find(ctx, p.(P))
		}
	}
	return e
}

// define is one line of the catalogue. bind makes the handler from the clients
// of the account, if the worker has it.
func define[P Task[R], R any](
	on account,
	summary string,
	example P,
	bind func(Vendors) handler[P, R],
) entry {
	return entry{
		Info: Info{
			Type:    example.Type(),
			Summary: summary,
			Vendor:  on.vendor,
			Example: example,
		},
		on: on,
		decode: func(raw []byte) (queue.Payload, error) {
			var p P
			if err := payload.Decode(raw, &p); err != nil {
				return nil, err
			}
			return p, nil
		},
		run: func(v Vendors) func(context.Context, queue.Payload) (any, error) {
			if !on.has(v) {
				return nil
			}
			run := bind(v)
			return func(ctx context.Context, p queue.Payload) (any, error) {
				result, err := run(ctx, p.(P))
				if _, none := any(result).(None); none {
					return nil, err
				}
				if err != nil && reflect.ValueOf(result).IsZero() {
					return nil, err // a zero beside a refusal would look like a count
				}
				return result, err
			}
		},
	}
}

// internal marks a line of the catalogue as Errand's own.
func internal(e entry) entry {
	e.Internal = true
	return e
}

// Types lists the task types that can be enqueued.
func Types() []Info {
	var infos []Info
	for _, e := range catalogue {
		if !e.Internal {
			infos = append(infos, e.Info)
		}
	}
	return infos
}

// Find returns the task type of that name, an internal one too.
func Find(taskType string) (Info, bool) {
	for _, e := range catalogue {
		if e.Type == taskType {
			return e.Info, true
		}
	}
	return Info{}, false
}

// Definitions is the catalogue as a worker runs it, with v's clients.
func Definitions(v Vendors) []queue.Definition {
	defs := make([]queue.Definition, len(catalogue))
	for i, e := range catalogue {
		defs[i] = queue.Definition{
			Type:   e.Type,
			Vendor: e.Vendor,
			Base:   e.Example.Defaults(),
			Decode: e.decode,
			Run:    e.run(v),
		}
		if e.find != nil {
			defs[i].Find = e.find(v)
		}
	}
	return defs
}
