package clients

import (
	"context"
	"errors"
	"net/http"
	"time"

	"errand.internal/internal/limits"
)

// Limiter keeps the calls of an account within the limits its operator sets.
type Limiter interface {
	// Enter waits until the limits admit one call. Its errors are *limits.WaitError
	// or the context's.
	Enter(ctx context.Context, a limits.Ask) (limits.Pass, error)
}

// maxWait is how long a call waits for the limits within its attempt. It is longer
// than asynq takes to bring back a parked task, so that tasks that come back
// together are admitted one after the other.
const maxWait = 2 * time.Second

// Limited returns a Caller whose calls l admits; with a nil l it returns c. Calls
// of the same account share one Limiter. Logins are not limited: the vendors do not
// count them.
func (c *Caller) Limited(l Limiter) *Caller {
	if l == nil {
		return c
	}
	limited := *c
	limited.limiter = l
	return &limited
}

// doLimited sends the request once the limiter admits it, and reports to the
// limiter how the vendor answered.
func (c *Caller) doLimited(ctx context.Context, op string, req *http.Request) (*Answer, error) {
	attempt := attemptFrom(ctx)
	pass, err := c.limiter.Enter(ctx, c.ask(ctx, attempt))
	if err != nil {
		return nil, c.limitError(op, err)
	}
	if attempt != nil {
		attempt.admitted.Store(true)
	}
	// The report must get through even if the task's own time is up.
	after := context.WithoutCancel(ctx)
	defer pass.Leave(after)
	answer, err := c.send(ctx, op, req)
	if err == nil && answer.Status == http.StatusTooManyRequests {
		pass.Exhausted(after, RetryAfter(answer.Header, MaxRetryAfter))
	}
	return answer, err
}

// ask describes the call to the limiter. The first call of an attempt waits only as
// long as the attempt can spare without shortening the call. A later call may use
// half of the time left, because giving up would waste the calls before it.
func (c *Caller) ask(ctx context.Context, attempt *Attempt) limits.Ask {
	a := limits.Ask{Patience: maxWait}
	if attempt != nil {
		a.Task = attempt.Task
		a.Underway = attempt.Underway || attempt.admitted.Load()
		a.Horizon = time.Until(attempt.Deadline)
	}
	deadline, bounded := ctx.Deadline()
	switch left := time.Until(deadline); {
	case a.Underway && bounded:
		a.Patience = min(2*maxWait, left/2)
	case a.Underway:
		a.Patience = 2 * maxWait
	case bounded:
		a.Patience = min(maxWait, left-c.timeouts.Call)
	}
	a.Patience = max(a.Patience, 0)
	return a
}

// limitError returns the Error for a call that the limits did not admit.
func (c *Caller) limitError(op string, err error) *Error {
	e := &Error{
		Vendor:  c.vendor,
		Op:      op,
		Kind:    Temporary,
		Message: "the account's limits cannot be checked", // the text of err may not be safe to show
		NotSent: true,
	}
	if wait, ok := errors.AsType[*limits.WaitError](err); ok {
		e.Kind = RateLimited
		e.Message = "not called"
		e.RetryAfter = wait.RetryAfter
		e.Err = wait
		return e
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			e.Message = "stopped while waiting for the account's limits"
			e.Err = cause
		}
	}
	return e
}
