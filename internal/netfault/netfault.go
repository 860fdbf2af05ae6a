// Package netfault says in plain words why a server could not be reached.
// Texts of errors from net, crypto/tls and net/http are no good for that: they
// quote addresses and URLs, and repeat themselves for every node that was tried.
package netfault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// Fault is the kind of fault that an error is about.
type Fault uint8

// The faults. Other is any error that is none of the rest.
const (
	Other       Fault = iota
	Untrusted         // the server's certificate
	NotTLS            // the server answered, but not with TLS
	WantsTLS          // the server answered with TLS, but was not asked to
	NoHandshake       // the server was reached, but does not answer the TLS handshake
	NoHost            // the name does not resolve
	Refused           // nobody listens at the port
	Reset             // the connection was reset
	Closed            // the connection was closed before the answer
	NoRoute           // the network has no way to the host
	Canceled          // the caller gave up
	Timeout           // no answer in time
)

var texts = [...]string{
	Other:       "connection failed",
	Untrusted:   "its certificate is not trusted",
	NotTLS:      "it does not speak TLS",
	WantsTLS:    "it speaks TLS",
	NoHandshake: "it does not answer the TLS handshake",
	NoHost:      "the host name did not resolve",
	Refused:     "connection refused",
	Reset:       "connection reset",
	Closed:      "connection closed",
	NoRoute:     "no route to the host",
	Canceled:    "cancelled",
	Timeout:     "timed out",
}

// ErrWantsTLS says that a server answered a plain request with TLS.
var ErrWantsTLS = errors.New("the server speaks TLS")

// HandshakeError says that a server was reached but the TLS handshake failed.
type HandshakeError struct{ Err error }

// Error implements error.
func (e *HandshakeError) Error() string {
	return "TLS handshake: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error {
	return e.Err
}

// String says what happened. It quotes nothing.
func (f Fault) String() string {
	if int(f) < len(texts) {
		return texts[f]
	}
	return texts[Other]
}

// Of finds the fault that err, or an error it wraps, is about.
func Of(err error) Fault {
	if fault := ofTLS(err); fault != Other {
		return fault
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return NoHost
	}
	for _, known := range []struct {
		err   error
		fault Fault
	}{
		{syscall.ECONNREFUSED, Refused},
		{syscall.ECONNRESET, Reset},
		{syscall.EPIPE, Reset},
		{io.EOF, Closed},
		{io.ErrUnexpectedEOF, Closed},
		{context.Canceled, Canceled},
		{context.DeadlineExceeded, Timeout},
		{syscall.EHOSTUNREACH, NoRoute},
		{syscall.ENETUNREACH, NoRoute},
	} {
		if errors.Is(err, known.err) {
			return known.fault
		}
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return Timeout
	}
	return Other
}

func ofTLS(err error) Fault {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return Untrusted
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return Untrusted
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return Untrusted
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return NotTLS
	}
	if errors.Is(err, ErrWantsTLS) {
		return WantsTLS
	}
	if _, ok := errors.AsType[*HandshakeError](err); ok && !errors.Is(err, context.Canceled) {
		return NoHandshake
	}
	return Other
}
