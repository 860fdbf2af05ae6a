package clients_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/testwait"
)

// rawServer answers the head of each request with bytes that no HTTP library would
// write. It never closes a connection by itself.
type rawServer struct {
	net.Listener
	open atomic.Int32 // connections that the client has not closed
}

// newRawServer starts a server that calls answer, with a request's path, for each
// request and then waits for the client to close.
func newRawServer(t *testing.T, answer func(w io.Writer, path string)) *rawServer {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{Listener: l}
	t.Cleanup(func() {
		_ = l.Close()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.open.Add(1)
			go s.serve(conn, answer)
		}
	}()
	return s
}

func (s *rawServer) serve(conn net.Conn, answer func(io.Writer, string)) {
	defer s.open.Add(-1)
	defer func() {
		_ = conn.Close()
	}()
	for in := bufio.NewReader(conn); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		go answer(conn, req.URL.Path) // an endless answer ends when a write fails
	}
}

// awaitClosed waits until the client has closed every connection.
func (s *rawServer) awaitClosed(t *testing.T) {
	t.Helper()
	testwait.Eventually(t, 20*time.Second, "the client closes every connection", func() bool {
		return s.open.Load() == 0
	})
}

// endless writes text until the client closes the connection.
func endless(w io.Writer, text string) {
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

// switching are the fields of an answer that leaves HTTP, with the status 101.
const switching = "Connection: Upgrade\r\nUpgrade: y\r\n"

// rawAnswers are ways to answer with a status and then not to stop.
var rawAnswers = []struct {
	name  string
	write func(w io.Writer, status int)
	// silent says that nothing but the timeout ends the call.
	silent bool
}{
	{
		name: "silence",
		write: func(w io.Writer, status int) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 %d X\r\n%s\r\n", status, switching)
		},
		silent: true,
	},
	{
		name: "endless body",
		write: func(w io.Writer, status int) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 %d X\r\n%s\r\n", status, switching)
			endless(w, strings.Repeat("x", 64<<10))
		},
	},
	{
		name: "endless heads",
		write: func(w io.Writer, status int) {
			endless(w, strings.Repeat(fmt.Sprintf("HTTP/1.1 %d X\r\n\r\n", status), 3<<10))
		},
	},
}

// Whatever a server answers, the call ends by itself, and nothing stays behind: no
// connection outside of the idle ones, and no goroutine. The test is not parallel,
// because it counts the goroutines of all connections.
func TestEveryAnswerEndsAndLeavesNothing(t *testing.T) {
	log.SetOutput(io.Discard) // net/http logs what follows the answer on an idle connection
	defer log.SetOutput(os.Stderr)
	for _, tt := range rawAnswers {
		for _, statusOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, status only %v", tt.name, statusOnly), func(t *testing.T) {
				server := newRawServer(t, func(w io.Writer, path string) {
					var status int
					_, _ = fmt.Sscanf(path, "/%d", &status)
					tt.write(w, status)
				})
				transport := clients.NewTransport()
				timeouts := clients.Timeouts{Call: time.Minute}
				if tt.silent {
					timeouts.Call = 500 * time.Millisecond
				}
				caller := clients.NewCaller("raw", timeouts, transport, nil)
				if statusOnly {
					caller = caller.StatusOnly()
				}
				step := 20
				if tt.silent {
					step = 1
				}
				callStatuses(t, caller, "http://"+server.Addr().String(), step)
				transport.CloseIdleConnections()
				server.awaitClosed(t)
				testwait.Eventually(t, 20*time.Second, "no goroutine of a connection is left", func() bool {
					return !strings.Contains(goroutines(), "net/http.(*persistConn)")
				})
			})
		}
	}
}

// callStatuses makes a call for each status, all at once. Of the statuses that end an
// answer and may have a body, it leaves out all but every step-th.
func callStatuses(t *testing.T, caller *clients.Caller, url string, step int) {
	t.Helper()
	var calls sync.WaitGroup
	for status := 100; status <= 600; status++ {
		if status%step != 0 && status > 199 && status != http.StatusNoContent && status != http.StatusNotModified {
			continue
		}
		calls.Go(func() {
			a, err := caller.Do(t.Context(), "get", newRequest(t, fmt.Sprintf("%s/%d", url, status)))
			if err == nil && a.Status != status && !overtaken(a.Status) {
				t.Errorf("%d came as %d", status, a.Status)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-clientstest.Within(t).Done():
		t.Fatal("a call does not end")
	}
}

// overtaken tells whether an answer may be that to an earlier call. net/http keeps the
// connection of an answer without a body, and closes it when more comes; a call that is
// sent on it just before that gets the next head.
func overtaken(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

func newRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
	}
	return req
}

// goroutines returns the stacks of all goroutines.
func goroutines() string {
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	return stacks.String()
}

// A 101, and a status outside of HTTP, close their connection unread: the next call
// gets a new one.
func TestAConnectionThatLeftHTTPIsNotReused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{101, 600, 999} {
		server := newRawServer(t, func(w io.Writer, _ string) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status)
		})
		caller := clients.NewCaller("raw", clients.Timeouts{}, nil, nil)
		a, err := caller.Do(t.Context(), "get", newRequest(t, "http://"+server.Addr().String()))
		if err != nil || a.Status != status || !a.Incomplete {
			t.Errorf("%d: %+v, %v", status, a, err)
		}
		server.awaitClosed(t)
	}
}

// Nobody follows a redirect, so its Location may be anything.
func TestARedirectToNoURLIsAnAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := newRawServer(t, func(w io.Writer, _ string) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 %d X\r\nLocation: ://%%zz\r\nContent-Length: 0\r\n\r\n", status)
		})
		caller := clients.NewCaller("raw", clients.Timeouts{}, nil, nil)
		a, err := caller.Do(t.Context(), "get", newRequest(t, "http://"+server.Addr().String()))
		if err != nil || a.Status != status {
			t.Errorf("%d: %+v, %v", status, a, err)
		}
	}
}
