package monitor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/internal/monitor"
)

// serve starts a handler. It returns its address, a function that stops it, and
// a channel with the result of Serve.
func serve(t *testing.T, addr string, h http.Handler) (bound string, stop func(), ended <-chan error) {
	t.Helper()
	l, err := monitor.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		result <- monitor.Serve(ctx, l, h, zerolog.Nop())
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l.Addr().String(), cancel, result
}

func TestServeFinishesRunningRequests(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	addr, stop, ended := serve(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "finished")
	}))
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		answer <- string(body)
		if err != nil {
			t.Error(err)
		}
	}()
	<-started
	stop()
	close(release)
	if got := <-answer; got != "finished" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the server still listens")
	}
}

func TestServeReportsClosedListener(t *testing.T) {
	t.Parallel()
	l, err := monitor.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := monitor.Serve(t.Context(), l, http.NotFoundHandler(), zerolog.Nop()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
}

func TestListenNamesTheVariable(t *testing.T) {
	t.Parallel()
	taken, err := monitor.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, addr := range []string{taken.Addr().String(), "no port"} {
		if _, err := monitor.Listen(t.Context(), addr); err == nil || !strings.HasPrefix(err.Error(), "HTTP_ADDR: ") {
			t.Errorf("Listen(%q) = %v", addr, err)
		}
	}
}

func TestCheckReady(t *testing.T) {
	t.Parallel()
	reply := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				http.NotFound(w, r)
				return
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	ready := reply(200, `{"ready":true}`)
	// The server listens on every interface, so that addresses without a host reach it.
	addr, _, _ := serve(t, ":0", ready)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"", "0.0.0.0", "[::]", "127.0.0.1", "localhost"} {
		if err := monitor.CheckReady(t.Context(), host+":"+port); err != nil {
			t.Errorf("CheckReady(%s:%s) = %v", host, port, err)
		}
	}

	notReady, _, _ := serve(t, "127.0.0.1:0", reply(503, `{"ready":false,"reason":"redis: gone"}`))
	reasonless, _, _ := serve(t, "127.0.0.1:0", reply(503, `{}`))
	foreign, _, _ := serve(t, "127.0.0.1:0", http.NotFoundHandler())
	redirect, _, _ := serve(t, "127.0.0.1:0", http.RedirectHandler("http://"+addr+"/readyz", http.StatusFound))
	closed, err := monitor.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, addr, want string }{
		{name: "not ready", addr: notReady, want: "not ready: redis: gone"},
		{name: "not ready without a reason", addr: reasonless, want: "not ready: status 503"},
		{name: "another server", addr: foreign, want: "is not a worker"},
		{name: "redirect", addr: redirect, want: "is not a worker"},
		{name: "nothing listens", addr: closed.Addr().String(), want: "request /readyz: dial tcp"},
		{name: "no admin http", addr: "", want: "HTTP_ADDR: is empty"},
		{name: "no port", addr: "localhost", want: "HTTP_ADDR: must be host:port"},
		{name: "port zero", addr: "localhost:0", want: "HTTP_ADDR: names no usable port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := monitor.CheckReady(t.Context(), tt.addr); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckReady = %v, want %q", err, tt.want)
			}
		})
	}
}
