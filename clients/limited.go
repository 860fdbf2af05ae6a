package clients

import (
	"context"
	"errors"
	"net/http"
	"time"

	"errand.internal/internal/limits"
)

// Limiter keeps the calls of an account within what its operator allows.
type Limiter interface {
	// Enter waits for leave to make one call. Its errors are *limits.WaitError or
	// the context's.
	Enter(ctx context.Context, a limits.Ask) (limits.Pass, error)
}

// patience is how long a call waits for its turn within its attempt. It is longer
// than asynq takes to bring back a parked task, so that those who come back
// together find a turn one after the other.
const patience = 2 * time.Second

// Limited returns a Caller whose calls l lets go one by one; nil for no limits.
// Calls of the same account share one Limiter. A login is none of them: it does
// not count at the vendor's API.
func (c *Caller) Limited(l Limiter) *Caller {
	if l == nil {
		return c
	}
	limited := *c
	limited.limiter = l
	return &limited
}

// doLimited sends when the limiter lets it, and tells it how the vendor took it.
func (c *Caller) doLimited(
	ctx context.Context,
	op string,
	req *http.Request,
) (*Answer, error) {
	attempt := attemptFrom(ctx)
	pass, err := c.limiter.Enter(ctx, c.ask(ctx, attempt))
	if err != nil {
		return nil, c.limitError(op, err)
	}
	if attempt != nil {
		attempt.letGo.Store(true)
	}
	// Whatever becomes of the task's own time.
	after := context.WithoutCancel(ctx)
	defer pass.Leave(after)
	answer, err := c.send(ctx, op, req)
	if err == nil && answer.Status == http.StatusTooManyRequests {
		pass.Exhausted(after, RetryAfter(answer.Header, MaxRetryAfter))
	}
	return answer, err
}

// ask says who asks. The first call of an attempt waits only as long as leaves it
// its whole time; a further one may use up half of what is left, because
// otherwise the attempt would have been in vain.
func (c *Caller) ask(ctx context.Context, attempt *Attempt) limits.Ask {
	a := limits.Ask{Patience: patience}
	if attempt != nil {
		a.Task = attempt.Task
		a.Underway = attempt.Underway || attempt.letGo.Load()
		a.Horizon = time.Until(attempt.Until)
	}
	deadline, ends := ctx.Deadline()
	switch left := time.Until(deadline); {
	case a.Underway && ends:
		a.Patience = min(2*patience, left/2)
	case a.Underway:
		a.Patience = 2 * patience
	case ends:
		a.Patience = min(patience, left-c.limits.Call)
	}
	a.Patience = max(a.Patience, 0)
	return a
}

// limitError is a call that the limits did not let go.
func (c *Caller) limitError(op string, err error) *Error {
	e := &Error{
		Vendor:  c.vendor,
		Op:      op,
		Kind:    Temporary,
		NotSent: true,
		Message: "its limits cannot be asked",
	} // the cause's text is not ours
	if waits, ok := errors.AsType[*limits.WaitError](err); ok {
		e.Kind = RateLimited
		e.Message = "not called"
		e.RetryAfter = waits.RetryAfter
		e.Err = waits
		return e
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			e.Message = "the wait for its turn ended"
			e.Err = cause
		}
	}
	return e
}
