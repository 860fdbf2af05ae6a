package netfault_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"errand.internal/internal/netfault"
)

func TestOf(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	tests := []struct {
		name string
		err  error
		want netfault.Fault
		text string
	}{
		{"nil", nil, netfault.Other, "connection failed"},
		{"any other", errors.New("canary"), netfault.Other, "connection failed"},
		{"certificate", &tls.CertificateVerificationError{}, netfault.Untrusted, "its certificate is not trusted"},
		{"unknown authority", x509.UnknownAuthorityError{}, netfault.Untrusted, "its certificate is not trusted"},
		{
			"another host",
			x509.HostnameError{Certificate: &x509.Certificate{}},
			netfault.Untrusted,
			"its certificate is not trusted",
		},
		{"not TLS", tls.RecordHeaderError{}, netfault.NotTLS, "it does not speak TLS"},
		{"DNS", dial(&net.DNSError{Name: "canary"}), netfault.NoHost, "the host name did not resolve"},
		{"DNS that timed out", dial(&net.DNSError{IsTimeout: true}), netfault.NoHost, "the host name did not resolve"},
		{"refused", dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), netfault.Refused, "connection refused"},
		{"reset", dial(syscall.ECONNRESET), netfault.Reset, "connection reset"},
		{"broken pipe", dial(syscall.EPIPE), netfault.Reset, "connection reset"},
		{"closed", io.EOF, netfault.Closed, "connection closed"},
		{"broken off", io.ErrUnexpectedEOF, netfault.Closed, "connection closed"},
		{"no route", dial(syscall.EHOSTUNREACH), netfault.NoRoute, "no route to the host"},
		{"cancelled", context.Canceled, netfault.Canceled, "cancelled"},
		{"deadline of a context", context.DeadlineExceeded, netfault.Timeout, "timed out"},
		{"deadline of a connection", dial(os.ErrDeadlineExceeded), netfault.Timeout, "timed out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.err
			if err != nil {
				err = fmt.Errorf("ask the server: %w", err)
			}
			if got := netfault.Of(err); got != tt.want || got.String() != tt.text {
				t.Errorf("Of = %d (%s), want %d (%s)", got, got, tt.want, tt.text)
			}
		})
	}
}
