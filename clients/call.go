package clients

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// MaxBody is how much of an answer's body is read at most, in bytes.
const MaxBody = 1 << 20

// Observation describes one finished call to the metrics. It contains no personal
// data and no secret.
type Observation struct {
	Vendor string
	Op     string
	Status int // 0 if no answer came
	Took   time.Duration
}

// Answer is an HTTP answer, read to its end or to MaxBody.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Method is the request's, and Repeatable says whether it may be sent twice.
	// Without them StatusError assumes the worst of a redirect.
	Method     string
	Repeatable bool
	// Incomplete says that the body was cut off, was longer than MaxBody, or did
	// not end in time. Such a body must not be interpreted.
	Incomplete bool

	scanned, valid bool // see isJSON
}

// Caller sends all requests to one vendor account. It follows no redirect,
// ignores proxy variables, bounds time and body size, keeps connections alive,
// and distinguishes a request that was not sent from one that may have arrived.
// A request that must not be repeated is sent once; see WithRepeatable.
//
// It has a transport and no http.Client, which reads the Location of a redirect
// that nobody follows, and loses the answer if it is no URL.
type Caller struct {
	vendor     string
	transport  http.RoundTripper
	timeouts   Timeouts
	observe    func(Observation)
	statusOnly bool
	admitter   Admitter // nil: every call is admitted
}

// NewCaller returns the Caller of one vendor account. transport is a Proxy's, or a
// dry run's own; nil is a direct one. observe may be nil.
func NewCaller(
	vendor string,
	timeouts Timeouts,
	transport http.RoundTripper,
	observe func(Observation),
) *Caller {
	timeouts = timeouts.WithDefaults()
	if transport == nil {
		transport = newTransport(timeouts)
	}
	if observe == nil {
		observe = func(Observation) {}
	}
	return &Caller{
		vendor:    vendor,
		transport: transport,
		timeouts:  timeouts,
		observe:   observe,
	}
}

// Timeout returns the bound on one whole call.
func (c *Caller) Timeout() time.Duration {
	return c.timeouts.Call
}

// Vendor returns the vendor's name in errors and metrics.
func (c *Caller) Vendor() string {
	return c.vendor
}

// StatusOnly returns a Caller for servers whose answers count by status and
// header alone: it drops the body and does not wait for it.
func (c *Caller) StatusOnly() *Caller {
	only := *c
	only.statusOnly = true
	return &only
}

// Do sends req once. A non-nil error is always an *Error about the transport:
//
//	Temporary, NotSent     the request was not sent
//	Blocked, NotSent       it is not admitted now
//	Credentials, NotSent   the server's certificate cannot be trusted
//	Unknown                the request may have arrived
//
// An answer of any status is not an error here. The vendor client interprets it:
// the body first, then the status with StatusError.
func (c *Caller) Do(ctx context.Context, op string, req *http.Request) (*Answer, error) {
	if c.admitter != nil {
		return c.doAdmitted(ctx, op, req)
	}
	return c.send(ctx, op, req)
}

func (c *Caller) send(ctx context.Context, op string, req *http.Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.Call)
	defer cancel()
	if err := StartAttempt(ctx); err != nil {
		return nil, &Error{
			Vendor:  c.vendor,
			Op:      op,
			Kind:    Temporary,
			Message: "not called, because its start could not be recorded",
			NotSent: true,
			Err:     err,
		}
	}
	progress := &sendProgress{attempt: attemptFrom(ctx)}
	ctx = progress.attach(ctx)
	repeatable := isRepeatable(ctx)
	if !repeatable {
		req = sentOnce(req)
	}

	ctx, req, traced := c.traceCall(ctx, op, req)
	defer traced.End()
	start := time.Now()
	resp, err := c.transport.RoundTrip(withBodyDeadline(ctx, req))
	if err != nil {
		c.observeCall(op, 0, start)
		failed := c.transportError(op, err, progress.mayBeSent())
		traceFailure(traced, failed)
		return nil, failed
	}
	traceStatus(traced, resp.StatusCode)
	defer func() {
		_ = resp.Body.Close()
	}()
	answer := &Answer{
		Status:     resp.StatusCode,
		Header:     resp.Header,
		Method:     req.Method,
		Repeatable: repeatable,
	}
	switch {
	case leavesHTTP(resp.StatusCode):
		answer.Incomplete = true
		progress.closeConn(resp.ProtoMajor)
	case c.statusOnly:
		c.observeCall(op, resp.StatusCode, start)
		discard(resp.Body, cancel)
		return answer, nil
	default:
		answer.readBody(resp.Body)
	}
	c.observeCall(op, resp.StatusCode, start)
	return answer, nil
}

// leavesHTTP reports whether what follows such a status is not, or perhaps not,
// the body of an answer: net/http hands the bare connection over after a 101, and
// neither its timeouts nor the context end a read of it.
func leavesHTTP(status int) bool {
	return status == http.StatusSwitchingProtocols || status < 100 || status > 599
}

func (c *Caller) observeCall(op string, status int, start time.Time) {
	c.observe(Observation{
		Vendor: c.vendor,
		Op:     op,
		Status: status,
		Took:   time.Since(start),
	})
}

func (a *Answer) readBody(body io.Reader) {
	var read bytes.Buffer
	n, err := io.Copy(&read, io.LimitReader(body, MaxBody+1))
	a.Body = read.Bytes()
	a.Incomplete = err != nil || n > MaxBody
	if n > MaxBody {
		a.Body = a.Body[:MaxBody]
	}
}

// A body that is not wanted is read up to these bounds, so that its connection
// can be reused. A server that sends more or is slower costs a new connection.
const (
	discardBytes = 4 << 10
	discardTime  = 250 * time.Millisecond
)

// discard drops the body of an answer; cancel ends the call after discardTime.
func discard(body io.Reader, cancel context.CancelFunc) {
	defer time.AfterFunc(discardTime, cancel).Stop()
	_, _ = io.CopyN(io.Discard, body, discardBytes)
}
