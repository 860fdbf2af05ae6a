package worker

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// event is what became of a claimed task, and all that the decision about it depends
// on.
type event struct {
	policy broker.Policy
	// attempts counts those before this one that counted; calledBefore says that the
	// vendor may have been called before.
	attempts     int
	calledBefore bool
	// left is what is left of the budget.
	left time.Duration
	// err is the refusal of a task that was not run, or the error of the call or lookup.
	err error
	// called says that the handler ran, sent that a request may have left.
	called bool
	sent   bool
	// lookup says that the vendor was asked about an earlier attempt, found that it
	// knows of it.
	lookup bool
	found  bool
	// inDoubt says that an earlier attempt may have happened; lookups counts how often
	// it was not found.
	inDoubt bool
	lookups int
	// reconcilable says that the vendor can be asked; after lookupPause.
	reconcilable bool
	lookupPause  time.Duration
	// reconfirm says that a closing must be confirmed once more, reconfirmAfter later.
	reconfirm      bool
	reconfirmAfter time.Duration
	random         float64 // [0,1), for the jitter
}

// decision is what becomes of the task.
type decision struct {
	// class names the end of the attempt in history, logs and metrics: an outcome, or a
	// fault's kind.
	class   string
	status  int
	counted bool
	state   record.State
	outcome record.Outcome // with Ended
	wait    time.Duration  // with Retrying and Parked
	// blockedBy names what a parked task waits for, if known.
	blockedBy string
	code      string
	message   string
	// confirmed says that the vendor did it, although the task goes on.
	confirmed bool
	// inDoubt says that it may have happened and is looked for; lookups counts the
	// times that it was not found.
	inDoubt bool
	lookups int
	// untried says that no request was sent and none was tried; history and counters
	// of attempts leave it out.
	untried bool
	// run says that an earlier attempt has surely not happened: the task may run.
	run bool
}

// Classes beside the kinds of clients.Error and the outcomes.
const (
	classPanic    = "panic"
	classHang     = "hang"
	classParked   = "parked"
	classNotFound = "not_found"
)

// lookupsNeeded is how often the vendor must say that a call has not happened.
const lookupsNeeded = 2

const (
	// parkFor is how long a parked task rests if nothing says better, parkMax at the
	// most: so long may it take until mended credentials are noticed.
	parkFor = 30 * time.Second
	parkMax = 60 * time.Second
	// turnMax is how long a task waits for its own turn before it asks whether somebody
	// has changed the limit; turnSpread is by how much those whose turns follow one
	// another are spread.
	turnMax    = 5 * time.Minute
	turnSpread = 100 * time.Millisecond
)

// conclude turns an event into what becomes of the task. It is the only place where
// retries are decided; nothing in it depends on vendor or task.
func conclude(e event) decision {
	if r, ok := errors.AsType[refusal](e.err); ok {
		return r.conclude(e)
	}
	if e.lookup {
		return concludeLookup(e)
	}
	d := concludeCall(e)
	if d.outcome == record.Unknown && e.reconcilable {
		d = d.reconcile(0, e)
	}
	if d.outcome == record.Done && e.reconfirm {
		d = d.reconfirm(e.reconfirmAfter)
	}
	if e.inDoubt && !e.called { // nobody has asked, so the doubt stays
		d.inDoubt, d.lookups = true, e.lookups
	}
	return d
}

// refusal is why a claimed task ends without a call.
type refusal struct {
	outcome record.Outcome
	message string
}

// Error implements error.
func (r refusal) Error() string {
	return r.message
}

func (r refusal) conclude(e event) decision {
	d := decision{
		class:   string(r.outcome),
		state:   record.Ended,
		outcome: r.outcome,
		message: r.message,
	}
	if e.inDoubt && d.outcome.FreesKey() { // the next task with the key would run it twice
		d = d.unresolved()
	}
	return d
}

// concludeLookup decides after the vendor was asked about an earlier attempt.
func concludeLookup(e event) decision {
	switch {
	case e.err != nil:
		asked := e
		asked.policy.Redelivery = broker.AtLeastOnce // asking again does no harm
		d := concludeCall(asked)
		if d.outcome != "" {
			return d.unresolved()
		}
		d.inDoubt, d.lookups = true, e.lookups
		return d
	case e.found:
		d := concludeCall(e)
		if e.reconfirm {
			d = d.reconfirm(e.reconfirmAfter)
		}
		return d
	case e.lookups+1 < lookupsNeeded:
		return decision{class: classNotFound}.reconcile(e.lookups+1, e)
	}
	return decision{run: true}
}

// concludeCall decides after a call.
func concludeCall(e event) decision {
	if e.err == nil {
		return decision{class: string(record.Done), counted: true}.end(record.Done)
	}
	fault := asVendorError(e.err, e.sent)
	d := decision{
		class:   fault.Kind.String(),
		status:  fault.Status,
		code:    fault.Code,
		message: fault.Error(),
		counted: e.called,
	}
	if _, ok := errors.AsType[*panicError](e.err); ok {
		d.class, d.message = classPanic, e.err.Error()
	}
	if _, ok := errors.AsType[*hangError](e.err); ok {
		d.class, d.message = classHang, e.err.Error()
	}
	if _, ok := errors.AsType[*broker.NotStartedError](e.err); ok {
		return d.postpone(e)
	}
	repeatable := e.policy.Redelivery == broker.AtLeastOnce
	switch fault.Kind {
	case clients.Declined:
		return d.end(record.Declined)
	case clients.Invalid:
		return d.end(record.Invalid)
	case clients.Failed:
		if !repeatable || fault.Final {
			return d.end(record.Failed)
		}
	case clients.Unknown:
		if !repeatable {
			return d.end(record.Unknown)
		}
	case clients.Credentials, clients.Blocked:
		return d.park(fault, e)
	}
	return d.retry(fault, e)
}

func (d decision) end(o record.Outcome) decision {
	d.state = record.Ended
	d.outcome = o
	d.wait = 0
	return d
}

// reconcile has the vendor asked after a pause whether the call has happened. If the
// budget does not allow it, the task ends unknown.
func (d decision) reconcile(lookups int, e event) decision {
	if e.lookupPause >= e.left {
		d.message = "it may have happened; there is no time left to look"
		return d.end(record.Unknown)
	}
	d.state = record.Retrying
	d.outcome = ""
	d.wait = e.lookupPause
	d.counted = false
	d.inDoubt = true
	d.lookups = lookups
	d.message = cmp.Or(d.message, "not found yet; it is looked for once more")
	return d
}

// unresolved ends as unknown what may have happened and cannot be found out.
func (d decision) unresolved() decision {
	d.class = string(record.Unknown)
	d.message = "it may have happened, and could not be looked up: " + d.message
	return d.end(record.Unknown)
}

// reconfirm has a closing that the vendor confirmed confirmed once more.
func (d decision) reconfirm(after time.Duration) decision {
	d.state = record.Retrying
	d.outcome = ""
	d.wait = after
	d.confirmed = true
	d.message = "confirmed; it is confirmed once more, because an opening that it overtook may take effect late"
	return d
}

// park puts the task aside until what blocks it admits it. It costs no attempt, and ends
// with the budget.
func (d decision) park(fault *clients.Error, e event) decision {
	d.counted = false
	d.state = record.Parked
	d.untried = fault.NotSent
	if d.untried {
		d.class = classParked
	}
	d.wait = fault.RetryAfter
	longest := e.left
	spread := e.left
	blocked, ok := errors.AsType[*admission.Blocked](e.err)
	switch {
	case ok && blocked.Turn && d.tooLate(e):
		return d.missed(e)
	case ok && blocked.Turn:
		d.blockedBy = blocked.Key
		d.wait = min(d.wait, turnMax)
		spread = turnSpread
	case ok:
		d.blockedBy = blocked.Key
		d.wait = cmp.Or(d.wait, parkFor)
		longest = min(parkMax, longest)
	case fault.Kind == clients.Credentials:
		d.wait = cmp.Or(d.wait, parkFor)
		longest = min(parkMax, longest)
	case d.tooLate(e):
		return d.missed(e)
	default: // the vendor's word that it refused the call before it ran
		d.blockedBy = rateLimit(fault.Vendor)
		d.wait = cmp.Or(d.wait, min(parkFor, e.policy.Backoff.Max))
	}
	spread = min(spread, d.wait/10) // those parked together do not come back together
	// Never later than the budget's end, where the claim ends the task.
	d.wait = min(d.wait+time.Duration(e.random*float64(spread)), max(longest, 0))
	return d
}

// rateLimit names the rate that a vendor keeps by itself.
func rateLimit(vendor string) string {
	return vendor + ":rate"
}

// tooLate tells whether what the task sends could not arrive any more when its wait is over,
// so that nothing but the end can come of the wait.
func (d decision) tooLate(e event) bool {
	return e.policy.Delivery > 0 && d.wait > e.left-e.policy.Delivery
}

// missed ends a task for which it is too late.
func (d decision) missed(e event) decision {
	d.message = "it could not arrive in time any more; " + d.message
	if d.untried && !e.calledBefore {
		return d.end(record.Expired)
	}
	return d.end(record.Failed)
}

// postpone runs the task soon, because Redis did not let its call start. That is no
// attempt: the vendor knows nothing of it.
func (d decision) postpone(e event) decision {
	d.state = record.Retrying
	d.counted = false
	d.untried = true
	d.wait = min(e.policy.Backoff.After(0, e.random), max(e.left, 0))
	return d
}

// retry runs the task once more, if its budget allows.
func (d decision) retry(fault *clients.Error, e event) decision {
	if e.policy.Attempts > 0 && e.attempts+1 >= e.policy.Attempts {
		d.message = fmt.Sprintf("gave up after %d attempts; the last: %s", e.attempts+1, d.message)
		return d.end(record.Failed)
	}
	d.state = record.Retrying
	d.wait = e.policy.Backoff.After(e.attempts, e.random)
	if fault.RetryAfter > 0 {
		d.wait = fault.RetryAfter + time.Duration(e.random*float64(fault.RetryAfter)/10)
	}
	if d.wait >= e.left {
		// Nothing can change before the time is up: say so now and free the key.
		d.message = "the time budget is spent; the last attempt: " + d.message
		return d.end(record.Failed)
	}
	return d
}

// elsewhere parks a task that another worker can run.
func elsewhere(vendor, message string) error {
	return clients.BlockedError(vendor, "", &admission.Blocked{Key: workerBlocker, Reason: message})
}

// asVendorError reads any error as one of a vendor call. What is not one came from our
// own code: it is taken for "may have happened" if a request had left by then.
func asVendorError(err error, sent bool) *clients.Error {
	if e, ok := clients.AsError(err); ok {
		return e
	}
	e := &clients.Error{
		Vendor:  "errand",
		Kind:    clients.Temporary,
		Message: err.Error(),
		NotSent: !sent,
	}
	if sent {
		e.Kind = clients.Unknown
	}
	return e
}

// hangError is a handler that did not return.
type hangError struct{ sent bool }

func (e *hangError) Error() string {
	if !e.sent {
		return "the handler did not return in time; its call was not started, and is not let out any more"
	}
	return "the handler did not return in time; what it did, or still does, is not known"
}

// panicError is a handler's panic. Its text names the type of the value only: the
// value itself may hold anything.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("the handler panicked (%T); the stack is in the worker's log", e.value)
}
