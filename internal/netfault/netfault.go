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
	Other     Fault = iota
	Untrusted       // the server's certificate
	NotTLS          // the server answered, but not with TLS
	NoHost          // the name does not resolve
	Refused         // nobody listens at the port
	Reset           // the connection was reset
	Closed          // the connection was closed before the answer
	NoRoute         // the network has no way to the host
	Canceled        // the caller gave up
	Timeout         // no answer in time
)

var texts = [...]string{
	Other:     "connection failed",
	Untrusted: "its certificate is not trusted",
	NotTLS:    "it does not speak TLS",
	NoHost:    "the host name did not resolve",
	Refused:   "connection refused",
	Reset:     "connection reset",
	Closed:    "connection closed",
	NoRoute:   "no route to the host",
	Canceled:  "cancelled",
	Timeout:   "timed out",
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
	return Other
}
