package faults

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var inboxSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, or more"))

// inbox is an operator's receiver of events. It checks each request with the
// library of Standard Webhooks, and that an event is the same in every try.
// Until open it refuses connections, at an address that is its own already.
type inbox struct {
	t      *testing.T
	verify *standardwebhooks.Webhook
	socket int // bound, and not listened on before open
	addr   string
	server *http.Server

	mu     sync.Mutex
	answer http.HandlerFunc // in the place of taking the event, if it is not nil
	bodies map[string]string
	tries  map[string]int       // requests, by event
	took   map[string]time.Time // when the event was taken first
	strays int                  // requests for another path
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	verify, err := standardwebhooks.NewWebhook(inboxSecret)
	if err != nil {
		t.Fatal(err)
	}
	in := &inbox{
		t:      t,
		verify: verify,
		bodies: map[string]string{},
		tries:  map[string]int{},
		took:   map[string]time.Time{},
	}
	in.server = &http.Server{Handler: in, ReadHeaderTimeout: time.Minute}
	if in.socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(in.socket)
	if err := syscall.Bind(in.socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(in.socket)
	if err != nil {
		t.Fatal(err)
	}
	in.addr = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	t.Cleanup(func() {
		if err := in.server.Close(); err != nil {
			t.Error(err)
		}
		if in.socket >= 0 {
			_ = syscall.Close(in.socket)
		}
	})
	return in
}

// url is where events go.
func (in *inbox) url() string { return "http://" + in.addr + "/hook" }

// settings are the workers'.
func (in *inbox) settings() map[string]string {
	return map[string]string{
		"EVENTS_URL":    in.url(),
		"EVENTS_SECRET": inboxSecret,
		"WORKER_QUEUES": "otp=8,anna=8,polls=8,events=10",
	}
}

// open takes connections from now on.
func (in *inbox) open() {
	in.t.Helper()
	if err := syscall.Listen(in.socket, 128); err != nil {
		in.t.Fatal(err)
	}
	file := os.NewFile(uintptr(in.socket), "inbox")
	in.socket = -1
	l, err := net.FileListener(file)
	if err != nil {
		in.t.Fatal(err)
	}
	_ = file.Close() // the listener has one of its own
	go func() {
		if err := in.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			in.t.Errorf("the receiver ends: %v", err)
		}
	}()
}

// answers has every request answered so; nil takes the events.
func (in *inbox) answers(h http.HandlerFunc) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.answer = h
}

// ServeHTTP implements http.Handler.
func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, in.verify.Verify(body, r.Header)); err != nil {
		in.t.Errorf("a request that does not verify: %v", err)
	}
	id := r.Header.Get("webhook-id")
	in.mu.Lock()
	if before, known := in.bodies[id]; known && before != string(body) {
		in.t.Errorf("%s has another body than before: %s, %s", id, body, before)
	}
	in.bodies[id] = string(body)
	in.tries[id]++
	if r.URL.Path != "/hook" {
		in.strays++
	}
	answer := in.answer
	if answer == nil && in.took[id].IsZero() {
		in.took[id] = time.Now()
	}
	in.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// missing are those of the events that were not taken.
func (in *inbox) missing(ids []string) (left []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, id := range ids {
		if in.took[id].IsZero() {
			left = append(left, id)
		}
	}
	return left
}

// requests counts them all, and the most that one event has cost.
func (in *inbox) requests() (all, most int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, n := range in.tries {
		all, most = all+n, max(most, n)
	}
	return all, most
}
