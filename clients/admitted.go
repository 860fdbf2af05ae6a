package clients

import (
	"context"
	"net/http"
	"time"

	"errand.internal/internal/admission"
)

// Admitter admits the calls of an account: a limiter, or all that stands before it.
type Admitter interface {
	// Acquire waits until one call is admitted. Its errors are *admission.Blocked or the
	// context's.
	Acquire(ctx context.Context, r admission.Request) (admission.Permit, error)
}

// maxWait is how long a call waits to be admitted within its attempt. It is longer than
// asynq takes to bring back a parked task, so that tasks that come back together are
// admitted one after the other.
const maxWait = 2 * time.Second

// AdmittedBy returns a Caller whose calls a admits; with a nil a it returns c. Calls of
// the same account share one Admitter. Logins are not admitted: the vendors do not count
// them.
func (c *Caller) AdmittedBy(a Admitter) *Caller {
	if a == nil {
		return c
	}
	admitted := *c
	admitted.admitter = a
	return &admitted
}

// doAdmitted sends the request once it is admitted, and reports how the vendor answered.
func (c *Caller) doAdmitted(ctx context.Context, op string, req *http.Request) (*Answer, error) {
	attempt := attemptFrom(ctx)
	permit, err := c.admitter.Acquire(ctx, c.admissionRequest(ctx, attempt))
	if err != nil {
		return nil, BlockedError(c.vendor, op, err)
	}
	if attempt != nil {
		attempt.admitted.Store(true)
	}
	var result admission.Result
	defer func() {
		// The report must get through even if the task's own time is up.
		permit.Done(context.WithoutCancel(ctx), result)
	}()
	answer, err := c.send(ctx, op, req)
	if err == nil && answer.Status == http.StatusTooManyRequests {
		result.Verdict = admission.Exhausted
		result.RetryAfter = RetryAfter(answer.Header, MaxRetryAfter)
	}
	return answer, err
}

// admissionRequest describes the call. The first call of an attempt waits only as long as
// the attempt can spare without shortening the call. A later call may use half of the
// time left, because giving up would waste the calls before it.
func (c *Caller) admissionRequest(ctx context.Context, attempt *Attempt) admission.Request {
	r := admission.Request{MaxWait: maxWait}
	if attempt != nil {
		r.Task = attempt.Task
		r.Underway = attempt.Underway || attempt.admitted.Load()
		r.Deadline = time.Until(attempt.Deadline)
	}
	deadline, bounded := ctx.Deadline()
	switch left := time.Until(deadline); {
	case r.Underway && bounded:
		r.MaxWait = min(2*maxWait, left/2)
	case r.Underway:
		r.MaxWait = 2 * maxWait
	case bounded:
		r.MaxWait = min(maxWait, left-c.timeouts.Call)
	}
	r.MaxWait = max(r.MaxWait, 0)
	return r
}
