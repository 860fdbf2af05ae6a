package clients

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"
)

// MaxBody is the most that is read of one answer, in bytes.
const MaxBody = 1 << 20

// Limits bound one call. The zero value of a field takes its default.
type Limits struct {
	// Connect bounds the dial (default 2 s) and TLS the handshake (default 3 s).
	// They are short so that a slow connect stays on the "never left" side.
	Connect, TLS time.Duration
	// Call bounds the whole call, body included (default 15 s); the wait for the
	// header alone has the same bound.
	Call time.Duration
}

// WithDefaults fills in what is not set.
func (l Limits) WithDefaults() Limits {
	if l.Connect <= 0 {
		l.Connect = 2 * time.Second
	}
	if l.TLS <= 0 {
		l.TLS = 3 * time.Second
	}
	if l.Call <= 0 {
		l.Call = 15 * time.Second
	}
	return l
}

// Observation is one finished call, as metrics see it. It holds nothing
// personal and nothing secret.
type Observation struct {
	Vendor, Op string
	Status     int // 0 if no answer came
	Took       time.Duration
}

// Caller is the one path on which requests leave for one vendor. It follows no
// redirect, ignores proxy variables, bounds time and body, keeps connections
// alive, and tells "never left" from "may have happened".
type Caller struct {
	vendor     string
	http       *http.Client
	limits     Limits
	observe    func(Observation)
	statusOnly bool
	limiter    Limiter // nil: as many calls as there are
}

// NewCaller makes the Caller of one vendor account. transport is nil in
// production; a dry run puts its own there. observe may be nil.
func NewCaller(
	vendor string,
	limits Limits,
	transport http.RoundTripper,
	observe func(Observation),
) *Caller {
	limits = limits.WithDefaults()
	if transport == nil {
		transport = newTransport(limits)
	}
	if observe == nil {
		observe = func(Observation) {}
	}
	return &Caller{
		vendor: vendor,
		http: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		limits:  limits,
		observe: observe,
	}
}

func newTransport(l Limits) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // a proxy variable must not see Authorization
		DialContext:            (&net.Dialer{Timeout: l.Connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    l.TLS,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout:  l.Call,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    256,
		// Shorter than the idle limit of usual load balancers (60 s), so that a
		// request seldom meets a connection that is just being closed.
		IdleConnTimeout: 30 * time.Second,
	}
}

// Answer is an HTTP answer, read to its end or to MaxBody.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Incomplete: the body broke off, was longer than MaxBody, or did not end in
	// time. It must not be trusted to mean anything.
	Incomplete bool
}

// Timeout is the bound on one whole call.
func (c *Caller) Timeout() time.Duration {
	return c.limits.Call
}

// Vendor names the vendor in errors and metrics.
func (c *Caller) Vendor() string {
	return c.vendor
}

// StatusOnly returns a Caller for servers of which only the status and the
// header count: the body of an answer is dropped, and not waited for.
func (c *Caller) StatusOnly() *Caller {
	only := *c
	only.statusOnly = true
	return &only
}

// A dropped body is read as far as this, so that its connection can be used
// again; whoever sends more, or is slower, gets a new one.
const (
	dropBytes = 4 << 10
	dropFor   = 250 * time.Millisecond
)

// Do sends req once. A non-nil error is always an *Error about the transport:
// Temporary and NotSent if nothing left, Credentials for a certificate that
// cannot be trusted, Unknown if the request may have arrived, RateLimited and
// NotSent if the account's limits have it wait. An answer of any
// status is not an error here; its meaning is the vendor client's to tell, body
// first, then StatusError.
func (c *Caller) Do(ctx context.Context, op string, req *http.Request) (*Answer, error) {
	if c.limiter != nil {
		return c.doLimited(ctx, op, req)
	}
	return c.send(ctx, op, req)
}

func (c *Caller) send(
	ctx context.Context,
	op string,
	req *http.Request,
) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Call)
	defer cancel()

	var sent, writing atomic.Bool
	attempt := attemptFrom(ctx)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() {
			sent.Store(true)
			if attempt != nil {
				attempt.sent.Store(true)
			}
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				writing.Store(false)
			}
		},
		GotConn: func(httptrace.GotConnInfo) {
			writing.Store(true)
			if attempt != nil && attempt.onSend != nil {
				attempt.once.Do(attempt.onSend)
			}
		},
	})

	start := time.Now()
	resp, err := c.http.Do(inTime(ctx, req))
	if err != nil {
		c.observe(Observation{
			Vendor: c.vendor,
			Op:     op,
			Took:   time.Since(start),
		})
		// net/http writes on a goroutine of its own: a call that is cancelled just
		// then returns while the header may still go out.
		mayHaveLeft := sent.Load() || writing.Load()
		if mayHaveLeft && attempt != nil {
			attempt.sent.Store(true)
		}
		return nil, c.transportError(op, err, mayHaveLeft)
	}
	defer func() {
		_ = resp.Body.Close()
	}()

	answer := &Answer{Status: resp.StatusCode, Header: resp.Header}
	if c.statusOnly {
		c.observe(Observation{
			Vendor: c.vendor,
			Op:     op,
			Status: resp.StatusCode,
			Took:   time.Since(start),
		})
		defer time.AfterFunc(dropFor, cancel).Stop()
		_, _ = io.CopyN(io.Discard, resp.Body, dropBytes)
		return answer, nil
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(resp.Body, MaxBody+1))
	answer.Body = body.Bytes()
	answer.Incomplete = err != nil || n > MaxBody
	if n > MaxBody {
		answer.Body = answer.Body[:MaxBody]
	}
	c.observe(Observation{
		Vendor: c.vendor,
		Op:     op,
		Status: resp.StatusCode,
		Took:   time.Since(start),
	})
	return answer, nil
}

// transportError classifies a call that got no status (VENDORS §0, the rows
// "never left" and "left, no status"). Its text is made of our own words: the
// *url.Error of net/http would show the whole URL.
func (c *Caller) transportError(op string, err error, sent bool) *Error {
	e := &Error{
		Vendor:  c.vendor,
		Op:      op,
		NotSent: !sent,
	}
	switch {
	case sent:
		e.Kind = Unknown
		e.Message = "no answer after the request was sent: " + reason(err)
	case untrusted(err):
		e.Kind = Credentials
		e.Message = "the server's certificate cannot be trusted; check the URL and the machine's CA certificates"
	default:
		e.Kind = Temporary
		e.Message = "the request never left: " + reason(err)
	}
	return e
}

func untrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}

// reason names a transport fault without quoting it.
func reason(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the host name did not resolve"
	}
	switch netErr, isNet := errors.AsType[net.Error](err); {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		return "timed out"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the host"
	}
	return "connection failed"
}
