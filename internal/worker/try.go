package worker

import (
	"cmp"
	"context"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// Try is one attempt of a task outside of a Server, for a unit test: it calls the vendor
// once and decides as a Server would, but stores nothing.
type Try struct {
	Definition Definition
	ID         string
	Payload    []byte // plain JSON
	Due        time.Time
	Expires    time.Time
	Timeout    time.Duration // of the call
	// Attempts counts the earlier attempts that counted; Called says that the vendor was
	// called before, also if that did not count.
	Attempts int
	Called   bool
	// InDoubt says that an earlier attempt may have happened. Lookups counts how often it
	// was looked for since, and not found; Place is where the latest lookup was.
	InDoubt bool
	Lookups int
	Place   string
}

// Tried is what became of a Try.
type Tried struct {
	State   record.State
	Outcome record.Outcome // with Ended
	Code    string
	Message string
	// Data is the result as JSON, with Ended; nil if there is none.
	Data []byte
	// Wait is how long the task rests, with Retrying and Parked.
	Wait time.Duration
	// Attempt is nil if the vendor was not called.
	Attempt *record.Attempt
	Counted bool
	InDoubt bool
	Lookups int
	Place   string
}

// Run makes the attempt.
func (t Try) Run(ctx context.Context) (Tried, error) {
	began := time.Now()
	e := event{
		attempts:     t.Attempts,
		calledBefore: t.Called,
		left:         t.Expires.Sub(began),
		inDoubt:      t.InDoubt,
		lookups:      t.Lookups,
		reconcilable: t.Definition.Reconcile != nil,
		random:       broker.Jitter(),
	}
	payload, err := t.Definition.Decode(t.Payload)
	if err != nil {
		e.err = refusal{record.Invalid, "the payload is wrong: " + err.Error()}
		return tried(conclude(e), nil)
	}
	e.policy = payload.Policy().WithDefaults()
	e.policy.Delivery = Delivery(e.policy, t.Due, t.Expires)
	ctx, watch := t.watch(ctx, e.policy)
	result, d := t.call(ctx, watch, payload, e)
	got, err := tried(d, result)
	got.Place = watch.Place()
	if !d.untried {
		got.Attempt = &record.Attempt{
			At:      began,
			Took:    time.Since(began),
			Class:   d.class,
			Status:  d.status,
			Code:    d.code,
			Message: d.message,
		}
	}
	return got, err
}

// call looks for an earlier attempt in doubt, and calls the vendor unless it is found.
func (t Try) call(ctx context.Context, watch *clients.Attempt, payload Payload, e event) (any, decision) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.Timeout, time.Minute))
	defer cancel()
	e.called = true
	if t.InDoubt && t.Definition.Reconcile != nil {
		asked := e
		asked.lookup = true
		var result any
		result, asked.found, asked.err = t.Definition.Reconcile(ctx, payload)
		if asked.err != nil {
			result = nil
		}
		if d := conclude(asked); !d.run {
			return result, d
		}
	}
	result, err := t.Definition.Run(ctx, payload)
	e.err = err
	e.sent = watch.Sent()
	return result, conclude(e)
}

func (t Try) watch(ctx context.Context, p broker.Policy) (context.Context, *clients.Attempt) {
	ctx, watch := clients.WithAttempt(ctx, nil)
	watch.Task = t.ID
	watch.Deadline = t.Expires
	watch.Retry = t.Called
	watch.First = t.Due
	watch.SetPlace(t.Place)
	if p.Redelivery != broker.AtLeastOnce {
		watch.Start = func(context.Context) error { return nil }
	}
	return context.WithValue(WithTaskID(ctx, t.ID), triesKey{}, t.Attempts), watch
}

func tried(d decision, result any) (Tried, error) {
	got := Tried{
		State:   d.state,
		Outcome: d.outcome,
		Code:    d.code,
		Message: d.message,
		Wait:    d.wait,
		Counted: d.counted,
		InDoubt: d.inDoubt,
		Lookups: d.lookups,
	}
	if d.outcome == "" {
		return got, nil
	}
	data, err := encodeResult(result)
	got.Data = data
	return got, err
}

// Delivery returns how long before the end of its time a task of a policy must run.
func Delivery(p broker.Policy, due, expires time.Time) time.Duration {
	return min(p.Delivery, expires.Sub(due)/10)
}

// OutOfTime returns how a task ends whose time is up, after some attempts that counted.
// called says that the vendor was called, also if that did not count.
func OutOfTime(called bool, attempts int, inDoubt bool) (record.Outcome, string) {
	d := conclude(event{err: outOfTime(called, attempts), inDoubt: inDoubt})
	return d.outcome, d.message
}

// Overtaken returns how a task ends that opens what a later one has closed.
func Overtaken() (record.Outcome, string) {
	return overtaken.outcome, overtaken.message
}
