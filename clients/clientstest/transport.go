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

// Transport checks the calls that get no answer: what never left may be tried
// again, what may have arrived must be called unknown.
func Transport(t *testing.T, s Subject) {
	t.Helper()
	never := []struct {
		name   string
		url    func(t *testing.T) string
		limits clients.Timeouts // short only where the time out is the point
		kind   clients.Kind
	}{
		{"refused", refused, clients.Timeouts{}, clients.Temporary},
		{
			"unknown host",
			func(*testing.T) string {
				return "https://errand-test.invalid"
			},
			clients.Timeouts{},
			clients.Temporary,
		},
		{
			"TLS handshake hangs",
			silent,
			clients.Timeouts{TLS: 200 * time.Millisecond},
			clients.Temporary,
		},
		{
			"untrusted certificate",
			untrusted,
			clients.Timeouts{TLS: 15 * time.Second},
			clients.Credentials,
		},
	}
	for _, tt := range never {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := expectKind(
				t,
				s.Call(t, tt.url(t)+s.Mount, tt.limits)(t.Context()),
				tt.kind,
			)
			if !e.NotSent {
				t.Errorf("NotSent is false, but nothing left: %v", e)
			}
		})
	}

	maybe := []struct {
		name    string
		fault   sandbox.Fault
		effects int
	}{
		{"dropped before the effect", sandbox.Fault{Drop: true}, 0},
		{"dropped after the effect", sandbox.Fault{Drop: true, AfterEffect: true}, 1},
		{"dropped after the header", sandbox.Fault{Truncate: true}, 1},
	}
	for _, tt := range maybe {
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
			if n := sb.Effects(s.Op); n > tt.effects { // reads have none at all
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
			t.Errorf("NotSent is false, but nothing left: %v", e)
		}
		if n := sb.Calls(s.Op); n != 0 {
			t.Errorf("%d calls arrived", n)
		}
	})
}

// refused is the URL of a port on which nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	l := listen(t)
	_ = l.Close()
	return "http://" + l.Addr().String()
}

// silent accepts connections and says nothing.
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

// untrusted shows a certificate that nobody signed.
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
