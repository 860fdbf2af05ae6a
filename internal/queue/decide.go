package queue

import (
	"errors"
	"fmt"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/ledger"
	"errand.internal/internal/limits"
	"errand.internal/internal/tokens"
)

// situation is all that the decision about an attempt depends on.
type situation struct {
	policy   Policy
	attempts int           // counted ones before this
	left     time.Duration // of the budget, now
	sent     bool          // a request may have left
	random   float64       // [0,1), for the jitter
}

// verdict is what becomes of an attempt.
type verdict struct {
	// class names it in history, logs and metrics: an outcome, or a fault's kind.
	class   string
	status  int
	counted bool
	state   ledger.State
	outcome ledger.Outcome // with Ended
	wait    time.Duration  // with Retrying and Parked
	// parkedFor names the credential that a parked task waits for, if known.
	parkedFor string
	// limit names the rate or concurrency that it waits for instead. Nobody wakes
	// it for that: it has a time of its own.
	limit   string
	code    string
	message string
	// confirmed: the vendor did it, although the task goes on.
	confirmed bool
	// inDoubt: it may have happened and is looked for; lookups counts the times
	// that it was not found.
	inDoubt bool
	lookups int
	// untried: no request went out and none was tried; history and counters of
	// attempts leave it out.
	untried bool
}

// Classes beside the kinds of clients.Error and the outcomes.
const (
	classPanic  = "panic"
	classHang   = "hang"
	classParked = "parked"
)

// decide turns the end of an attempt into what happens next. It is the only
// place where retries are decided; nothing in it depends on vendor or task.
func decide(s situation, err error) verdict {
	if err == nil {
		return verdict{class: string(ledger.Done), counted: true, state: ledger.Ended, outcome: ledger.Done}
	}
	e := asVendorError(err, s.sent)
	v := verdict{class: e.Kind.String(), status: e.Status, code: e.Code, message: e.Error(), counted: true}
	if _, ok := errors.AsType[*panicError](err); ok {
		v.class, v.message = classPanic, err.Error()
	}
	if _, ok := errors.AsType[*hangError](err); ok {
		v.class, v.message = classHang, err.Error()
	}
	if away, ok := errors.AsType[*tokens.UnavailableError](err); ok {
		v.parkedFor = away.Profile
		return v.park(e, s) // no login to be had: the task itself was not tried
	}
	switch e.Kind {
	case clients.Declined:
		return v.end(ledger.Declined)
	case clients.Invalid:
		return v.end(ledger.Invalid)
	case clients.Failed:
		if s.policy.Redelivery != AtLeastOnce || e.Final {
			return v.end(ledger.Failed)
		}
		return v.again(e, s)
	case clients.Credentials:
		if cooling, ok := errors.AsType[*tokens.CoolingError](err); ok {
			v.parkedFor = cooling.Profile
		}
		if refused, ok := errors.AsType[*tokens.RefusedError](err); ok {
			v.parkedFor = refused.Profile
		}
		return v.park(e, s)
	case clients.RateLimited:
		return v.standInLine(e, s)
	case clients.Unknown:
		if s.policy.Redelivery != AtLeastOnce {
			return v.end(ledger.Unknown)
		}
		return v.again(e, s)
	default:
		return v.again(e, s)
	}
}

func (v verdict) end(o ledger.Outcome) verdict {
	v.state, v.outcome, v.wait = ledger.Ended, o, 0
	return v
}

// lookFor has the vendor asked after a pause whether the call has happened. If
// the budget does not allow it, the task ends unknown.
func (v verdict) lookFor(lookups int, pause, left time.Duration) verdict {
	if pause >= left {
		v.message = "it may have happened; there is no time left to look"
		return v.end(ledger.Unknown)
	}
	v.state, v.outcome, v.wait, v.counted = ledger.Retrying, "", pause, false
	v.inDoubt, v.lookups = true, lookups
	if v.message == "" {
		v.message = "not found yet; it is looked for once more"
	}
	return v
}

// unresolved ends as unknown what may have happened and cannot be found out.
func (v verdict) unresolved() verdict {
	v.class, v.message = string(ledger.Unknown), "it may have happened, and could not be looked up: "+v.message
	return v.end(ledger.Unknown)
}

// reconfirm has a closing that the vendor confirmed confirmed once more.
func (v verdict) reconfirm(after time.Duration) verdict {
	v.state, v.outcome, v.wait, v.confirmed = ledger.Retrying, "", after, true
	v.message = "confirmed; it is confirmed once more, because an opening that it overtook may take effect late"
	return v
}

// park puts the task aside until somebody mends what it needs. It costs no
// attempt, and ends with the budget.
func (v verdict) park(e *clients.Error, s situation) verdict {
	v.counted, v.state, v.untried = false, ledger.Parked, e.NotSent
	if v.untried {
		v.class = classParked
	}
	v.wait = parkFor
	if e.RetryAfter > 0 {
		v.wait = e.RetryAfter
	}
	// Up to a tenth later, so that those parked together do not come back
	// together; never later than the budget's end, where Begin ends the task.
	v.wait = min(v.wait+time.Duration(s.random*float64(v.wait)/10), parkMax, max(s.left, 0))
	return v
}

// standInLine puts the task aside until it is its turn: by our own limits, or by
// the vendor's word that it refused the call before it ran. It costs no attempt,
// and ends with the budget.
func (v verdict) standInLine(e *clients.Error, s situation) verdict {
	v.counted, v.state, v.untried, v.limit = false, ledger.Parked, e.NotSent, e.Vendor+":rate"
	v.wait = e.RetryAfter
	if v.wait <= 0 {
		v.wait = min(parkFor, s.policy.Backoff.Max)
	}
	spread := v.wait / 10 // those refused together do not come back together
	if waits, ok := errors.AsType[*limits.WaitError](e); ok {
		// The time is the task's own. Should it be long, the task looks now and then
		// whether somebody has changed the limit; its place is kept.
		v.class, v.limit = classParked, waits.Limit
		v.wait, spread = min(v.wait, lineMax), min(spread, lineSpread)
	}
	v.wait = min(v.wait+time.Duration(s.random*float64(spread)), max(s.left, 0))
	return v
}

// again runs the task once more, if its budget allows.
func (v verdict) again(e *clients.Error, s situation) verdict {
	if s.policy.Attempts > 0 && s.attempts+1 >= s.policy.Attempts {
		v.message = fmt.Sprintf("gave up after %d attempts; the last: %s", s.attempts+1, v.message)
		return v.end(ledger.Failed)
	}
	v.state = ledger.Retrying
	v.wait = s.policy.Backoff.after(s.attempts, s.random)
	if e.RetryAfter > 0 {
		v.wait = e.RetryAfter + time.Duration(s.random*float64(e.RetryAfter)/10)
	}
	if v.wait >= s.left {
		// Nothing can change before the time is up: say so now and free the key.
		v.message = "the time budget is spent; the last attempt: " + v.message
		return v.end(ledger.Failed)
	}
	return v
}

// asVendorError reads any error as one of a vendor call. What is not one came
// from our own code: it is taken for "may have happened" if a request had left
// by then.
func asVendorError(err error, sent bool) *clients.Error {
	if e, ok := clients.AsError(err); ok {
		return e
	}
	e := &clients.Error{Vendor: "errand", Kind: clients.Temporary, Message: err.Error(), NotSent: !sent}
	if sent {
		e.Kind = clients.Unknown
	}
	return e
}

// hangError is a handler that did not return.
type hangError struct{}

func (*hangError) Error() string {
	return "the handler did not return in time; what it did, or still does, is not known"
}

// panicError is a handler's panic. Its text names the type of the value only:
// the value itself may hold anything.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	if err, ok := e.value.(error); ok {
		return fmt.Sprintf("the handler panicked (%T); the stack is in the worker's log", err)
	}
	return fmt.Sprintf("the handler panicked (%T); the stack is in the worker's log", e.value)
}
