package webserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/internal/webserver"
	"errand.internal/internal/webtest"
)

// serve starts a handler. It returns its address, a function that stops it, and
// a channel with the result of Serve.
func serve(t *testing.T, addr string, h http.Handler) (bound string, stop func(), ended <-chan error) {
	t.Helper()
	l, err := webserver.Listen(t.Context(), "HTTP_ADDR", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		result <- webserver.Server{Name: "admin HTTP", Handler: h}.Serve(ctx, l, zerolog.Nop())
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
		resp, err := webtest.Client.Get("http://" + addr)
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
	l, err := webserver.Listen(t.Context(), "HTTP_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	server := webserver.Server{Handler: http.NotFoundHandler()}
	if err := server.Serve(t.Context(), l, zerolog.Nop()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
}

func TestListenNamesTheVariable(t *testing.T) {
	t.Parallel()
	taken, err := webserver.Listen(t.Context(), "HTTP_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, addr := range []string{taken.Addr().String(), "no port"} {
		if _, err := webserver.Listen(t.Context(), "HTTP_ADDR", addr); err == nil || !strings.HasPrefix(err.Error(), "HTTP_ADDR: ") {
			t.Errorf("Listen(%q) = %v", addr, err)
		}
	}
}
