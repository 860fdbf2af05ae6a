package clients

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"errand.internal/internal/netfault"
)

// Timeouts bound one call. The zero value of a field means its default.
type Timeouts struct {
	// Connect bounds the dial (default 2 s) and TLS the handshake (default 3 s).
	// Both are short, so that a slow connect fails before anything is sent.
	Connect time.Duration
	TLS     time.Duration
	// Call bounds the whole call, body included (default 15 s). The wait for the
	// response header alone has the same bound.
	Call time.Duration
}

// WithDefaults returns t with every unset field at its default.
func (t Timeouts) WithDefaults() Timeouts {
	if t.Connect <= 0 {
		t.Connect = 2 * time.Second
	}
	if t.TLS <= 0 {
		t.TLS = 3 * time.Second
	}
	if t.Call <= 0 {
		t.Call = 15 * time.Second
	}
	return t
}

func newTransport(t Timeouts) *http.Transport {
	dialer := &net.Dialer{
		Timeout:   t.Connect,
		KeepAlive: 30 * time.Second,
	}
	return &http.Transport{
		Proxy:                  nil, // the environment's own proxy variables are not read
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    t.TLS,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout:  t.Call,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    256,
		// Shorter than the usual idle timeout of load balancers (60 s), so that a
		// request rarely meets a connection that is just being closed.
		IdleConnTimeout: 30 * time.Second,
	}
}

// transportError classifies a call that got no status, by whether the request may
// have been sent. Its message never quotes err: the *url.Error of net/http shows
// the whole URL.
func (c *Caller) transportError(op string, err error, sent bool) *Error {
	fault := netfault.Of(err)
	e := &Error{
		Vendor:  c.vendor,
		Op:      op,
		NotSent: !sent,
	}
	switch {
	case sent:
		e.Kind = Unknown
		e.Message = "no answer after the request was sent: " + fault.String()
	case ProxyFault(err) != "":
		e.Kind = Temporary
		e.Message = "the request was not sent: " + ProxyFault(err)
	case fault == netfault.Untrusted:
		e.Kind = Credentials
		e.Message = "the server's certificate cannot be trusted; check the URL and the machine's CA certificates"
	default:
		e.Kind = Temporary
		e.Message = "the request was not sent: " + fault.String()
	}
	return e
}
