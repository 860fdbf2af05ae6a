package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
)

// worker runs the tasks that a broker.Server hands out.
type worker struct {
	definitions    map[string]Definition
	ring           *seal.Ring
	alert          alert.Func
	finished       func(id string)
	lookupPause    time.Duration
	reconfirmAfter time.Duration
	timeout        func(vendor string) time.Duration
	metrics        *Metrics
	tracer         trace.Tracer // nil for none
	log            zerolog.Logger
	// stacksLogged is when goroutines were logged last, in Unix seconds.
	stacksLogged atomic.Int64
}

const (
	// claimSlack is how much longer than its attempt a claim may hold the lock of an
	// intent.
	claimSlack = 5 * time.Second
	// hangGrace is how long after the end of its time a handler may take to return.
	hangGrace = 2 * time.Second
)

// handle runs a claimed task once and settles the claim.
func (w *worker) handle(ctx context.Context, c *broker.Claim) {
	a := &attempt{
		worker: w,
		claim:  c,
		began:  time.Now(),
	}
	a.definition, a.known = w.definitions[c.Type]
	a.policy = a.definition.Base.WithDefaults()
	var payload Payload
	var decodeErr error
	if a.known {
		if payload, decodeErr = w.decode(a.definition, c); decodeErr == nil {
			a.policy = payload.Policy().WithDefaults()
		}
	}
	a.policy.Delivery = Delivery(a.policy, c.Due, c.Expires)
	if c.Verdict == broker.Unrecorded && a.adopt(decodeErr) {
		return
	}
	ctx = a.trace(ctx)
	defer a.span.End()
	if err := a.refuse(decodeErr); err != nil {
		a.settle(conclude(a.event(err)), nil)
		return
	}
	if c.InDoubt && a.reconcile(ctx, payload) {
		return
	}
	got, ok := a.call(ctx, payload, a.definition.Run, false)
	if !ok {
		return
	}
	a.metrics.countUnlisted(got.err)
	e := a.event(got.err)
	e.called, e.sent = true, got.sent
	a.settle(conclude(e), got.result)
}

func (w *worker) decode(d Definition, c *broker.Claim) (Payload, error) {
	plain, err := broker.OpenPayload(w.ring, c)
	if err != nil {
		return nil, err
	}
	return d.Decode(plain)
}

// adopt gives a task without a record the policy of its type. It reports false for
// one that ends now: it may have run, or cannot be read.
func (a *attempt) adopt(decodeErr error) bool {
	c := a.claim
	lost := !c.Foreign
	switch {
	case !a.known, decodeErr != nil, c.Completed():
		return false
	case lost && a.policy.Redelivery == broker.AtMostOnce:
		return false
	}
	if err := c.Adopt(a.policy, lost && a.policy.Redelivery == broker.Reconciled); err != nil {
		a.log.Error().Err(err).Str("task_id", c.ID).Msg("task without a record not adopted; another worker will do it")
	}
	return true
}

// refuse returns why the claimed task is not run; nil if it is.
func (a *attempt) refuse(decodeErr error) error {
	if err := a.refuseClaim(); err != nil {
		return err
	}
	switch {
	case !a.known:
		return elsewhere("errand", "this worker does not know the task type; a newer one may")
	case errors.Is(decodeErr, seal.ErrNoKey):
		return elsewhere("errand", decodeErr.Error())
	case decodeErr != nil && a.claim.Version > broker.PayloadVersion:
		return elsewhere("errand", "the payload is of a newer release than this worker: "+decodeErr.Error())
	case decodeErr != nil:
		return refusal{record.Invalid, "the payload is wrong: " + decodeErr.Error()}
	case a.claim.Expires.Sub(a.claim.Now()) < a.policy.Delivery:
		return outOfTime(a.claim.Called, a.claim.Attempts)
	case a.definition.Run == nil:
		return elsewhere(a.definition.Vendor, "this worker has no credentials for the vendor")
	}
	return nil
}

// refuseClaim returns why the claim alone ends the task; nil if it does not.
func (a *attempt) refuseClaim() error {
	c := a.claim
	switch c.Verdict {
	case broker.OutOfTime:
		return outOfTime(c.Called, c.Attempts)
	case broker.Abandoned:
		return refusal{record.Unknown, "the worker that was calling the vendor died; the call may have happened"}
	case broker.Crashed:
		return refusal{record.Failed, "its worker died three times while it ran the task"}
	case broker.Overtaken:
		return overtaken
	case broker.Unrecorded:
		if c.Completed() {
			return refusal{record.Done, "it ended before; Redis has lost its record"}
		}
		if a.known && !c.Foreign && a.policy.Redelivery != broker.AtLeastOnce {
			return refusal{record.Unknown, "Redis has lost the task's record; an earlier call may have happened"}
		}
	case broker.Run:
		if !c.Now().Before(c.Expires) { // the claim's reply was long under way
			return outOfTime(c.Called, c.Attempts)
		}
	default:
		return elsewhere("errand", fmt.Sprintf("this worker does not know the verdict %q; a newer one may", c.Verdict))
	}
	return nil
}

// outOfTime ends a task whose time is up. called says that the vendor may have been called
// before, attempts how often that counted.
func outOfTime(called bool, attempts int) refusal {
	switch {
	case !called:
		return refusal{record.Expired, "its time was up before it could run"}
	case attempts == 0:
		return refusal{record.Failed, "the time budget is spent; the vendor was called, and did not run it"}
	}
	return refusal{record.Failed, fmt.Sprintf("the time budget is spent after %d attempts", attempts)}
}

var overtaken = refusal{record.Superseded, "a closing of the same access was enqueued later"}

// reconcile asks the vendor whether an earlier attempt has happened, and reports whether
// the attempt has ended with that: if it surely has not, the task may run.
func (a *attempt) reconcile(ctx context.Context, payload Payload) (ended bool) {
	found := false
	ask := func(ctx context.Context, p Payload) (any, error) {
		r, ok, err := a.definition.Reconcile(ctx, p)
		found = ok
		return r, err
	}
	got, ok := a.call(ctx, payload, ask, true)
	if !ok {
		return true
	}
	if got.err != nil {
		got.result = nil
		a.metrics.countUnlisted(got.err)
	}
	e := a.event(got.err)
	e.called = true
	e.lookup = true
	e.found = found
	settled := conclude(e)
	if settled.run {
		return false
	}
	a.settle(settled, got.result)
	return true
}
