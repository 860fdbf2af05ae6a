package clients

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
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
	permit, err := c.admitter.Acquire(ctx, c.admissionRequest(ctx, attempt, req))
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
	if ctx.Err() == nil { // otherwise the call was cut short on this side
		result = resultOf(answer, err)
	}
	return answer, err
}

// ReportRefusal tells what admits the calls of the account whether the vendor refuses access
// to it, which is so if err says it (403); the error then says what its task waits for. A
// client calls it whenever it has interpreted an answer, with nil if something smaller than
// the account is refused, such as its credential or a pipe: until then nobody else probes an
// account in trouble.
func (c *Caller) ReportRefusal(ctx context.Context, err error) {
	account, ok := c.admitter.(concluder)
	if !ok {
		return
	}
	task := ""
	if attempt := attemptFrom(ctx); attempt != nil {
		task = attempt.Task
	}
	e, ok := AsError(err)
	refused := ok && e.Kind == Credentials && e.Status == http.StatusForbidden && !isTrial(ctx)
	if rests := account.Conclude(ctx, task, refused); rests != nil && e.Err == nil {
		e.Err = rests
	}
}

// concluder is an Admitter that is told what a 403 has shown; see admission.Account.
type concluder interface {
	Conclude(ctx context.Context, task string, refused bool) *admission.Blocked
}

type trialKey struct{}

// WithTrial returns a context whose calls try a secret that nobody has used yet, while the
// old one is still at hand. A vendor that refuses it does not refuse the account.
func WithTrial(ctx context.Context) context.Context {
	return context.WithValue(ctx, trialKey{}, true)
}

func isTrial(ctx context.Context) bool {
	trial, _ := ctx.Value(trialKey{}).(bool)
	return trial
}

// resultOf is what a call shows about the account: an answer of any status below 500, but
// 403 and 429, is that of a vendor that works.
func resultOf(answer *Answer, err error) admission.Result {
	if e, ok := AsError(err); ok {
		// An untrusted certificate is no outage, and a call whose start Redis did not take
		// (e.Err) was not made.
		if e.Kind == Credentials || e.Err != nil {
			return admission.Result{}
		}
		return admission.Result{Verdict: admission.Failed}
	}
	switch {
	case answer.Status == http.StatusForbidden:
		return admission.Result{Verdict: admission.Undecided} // see ReportRefusal
	case answer.Status == http.StatusTooManyRequests:
		return admission.Result{
			Verdict:    admission.Exhausted,
			RetryAfter: RetryAfter(answer.Header, MaxRetryAfter),
		}
	case answer.Status >= http.StatusInternalServerError:
		return admission.Result{Verdict: admission.Failed}
	}
	return admission.Result{Verdict: admission.Accepted}
}

// admissionRequest describes the call. The first call of an attempt waits only as long as
// the attempt can spare without shortening the call. A later call may use half of the
// time left, because giving up would waste the calls before it.
func (c *Caller) admissionRequest(ctx context.Context, attempt *Attempt, req *http.Request) admission.Request {
	r := admission.Request{
		MaxWait:    maxWait,
		Repeatable: isRepeatable(ctx),
		Connect: func(ctx context.Context) error {
			return c.connect(ctx, req.URL)
		},
	}
	if attempt != nil {
		r.Task = attempt.Task
		r.Underway = attempt.Underway || attempt.admitted.Load()
		r.Retry = attempt.Retry && !r.Underway
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

// connect connects to the host of a URL and sends nothing. Behind a proxy, or in a dry run,
// it does nothing.
func (c *Caller) connect(ctx context.Context, u *url.URL) error {
	transport, ok := c.transport.(*http.Transport)
	if !ok || transport.Proxy != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.Connect+c.timeouts.TLS)
	defer cancel()
	port := u.Port()
	if port == "" {
		port = u.Scheme // dialers know the names of ports
	}
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{},
		Config:    transport.TLSClientConfig,
	}
	dial := dialer.DialContext
	if u.Scheme == "http" {
		dial = dialer.NetDialer.DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}
