package clientstest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
)

// Transport checks the calls that get no answer: a request that was not sent may
// be retried, and one that may have arrived is reported as unknown.
func Transport(t *testing.T, s Subject) {
	t.Helper()
	notSent(t, s)
	maybeSent(t, s)
	cancelled(t, s)
}

// notSent checks calls that fail before a request is sent.
func notSent(t *testing.T, s Subject) {
	t.Helper()
	tests := []struct {
		name     string
		url      func(t *testing.T) string
		timeouts clients.Timeouts // short only where the timeout is under test
		kind     clients.Kind
	}{
		{
			name: "refused",
			url:  refusing,
			kind: clients.Temporary,
		},
		{
			name: "unknown host",
			url:  func(*testing.T) string { return "https://errand-test.invalid" },
			kind: clients.Temporary,
		},
		{
			name:     "TLS handshake hangs",
			url:      silent,
			timeouts: clients.Timeouts{TLS: 200 * time.Millisecond},
			kind:     clients.Temporary,
		},
		{
			name:     "untrusted certificate",
			url:      untrusted,
			timeouts: clients.Timeouts{TLS: 15 * time.Second},
			kind:     clients.Credentials,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			call := s.Call(t, tt.url(t)+s.Mount, tt.timeouts)
			e := expectKind(t, call(t.Context()), tt.kind)
			if !e.NotSent {
				t.Errorf("NotSent is false, but nothing was sent: %v", e)
			}
		})
	}
}

// maybeSent checks calls whose request arrives and whose answer does not.
func maybeSent(t *testing.T, s Subject) {
	t.Helper()
	tests := []struct {
		name    string
		fault   sandbox.Fault
		effects int
	}{
		{"dropped before the effect", sandbox.Fault{Drop: true}, 0},
		{"dropped after the effect", sandbox.Fault{Drop: true, AfterEffect: true}, 1},
		{"dropped after the header", sandbox.Fault{Truncate: true}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, call := s.start(t, clients.Timeouts{})
			tt.fault.Op = s.Op
			sb.Inject(tt.fault)
			e := expectKind(t, call(t.Context()), clients.Unknown)
			if e.NotSent {
				t.Errorf("NotSent is true, but the request arrived: %v", e)
			}
			if n := sb.Calls(s.Op); n != 1 {
				t.Errorf("the request arrived %d times, want 1", n)
			}
			if n := sb.Effects(s.Op); n > tt.effects { // reads have no effects
				t.Errorf("%d effects, want at most %d", n, tt.effects)
			}
		})
	}
	t.Run("no answer in time", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{Call: time.Second})
		gate := sb.HoldAnswer(s.Op)
		t.Cleanup(gate.Release)
		e := expectKind(t, call(t.Context()), clients.Unknown)
		if e.NotSent {
			t.Errorf("NotSent is true, but the request arrived: %v", e)
		}
	})
}

// cancelled checks calls whose context is cancelled.
func cancelled(t *testing.T, s Subject) {
	t.Helper()
	t.Run("cancelled while the vendor works", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{})
		gate := sb.Hold(s.Op)
		t.Cleanup(gate.Release)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		result := make(chan error, 1)
		go func() {
			result <- call(ctx)
		}()
		if err := sb.WaitCalls(Within(t), s.Op, 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		if e := expectKind(t, <-result, clients.Unknown); e.NotSent {
			t.Errorf("NotSent is true, but the request arrived: %v", e)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if e := expectKind(t, call(ctx), clients.Temporary); !e.NotSent {
			t.Errorf("NotSent is false, but nothing was sent: %v", e)
		}
		if n := sb.Calls(s.Op); n != 0 {
			t.Errorf("%d calls arrived", n)
		}
	})
}

// refusing returns the URL of a port that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	l := listen(t)
	_ = l.Close()
	return "http://" + l.Addr().String()
}

// silent returns the URL of a server that accepts connections and sends nothing.
func silent(t *testing.T) string {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() {
		_ = l.Close()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}() // ends when the client gives up
		}
	}()
	return "https://" + l.Addr().String()
}

// untrusted returns the URL of a server with a self-signed certificate.
func untrusted(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
