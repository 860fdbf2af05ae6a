package apptest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// EventsSecret signs the events for a Receiver.
var EventsSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, or more"))

// Event is an event as a Receiver gets it.
type Event struct {
	Type string         `json:"type"`
	Data map[string]any `json:"data"`
}

// Receiver is an operator's system that receives events. It verifies their
// signatures.
type Receiver struct {
	// URL is its EVENTS_URL; the word "canary" in its path must not be shown.
	URL string
	// Events has each event once, even if it was delivered more than once.
	Events chan Event

	t      testing.TB
	status int

	mu    sync.Mutex
	seen  map[string]bool // by webhook-id
	trace string          // of the latest delivery
}

// Traceparent is the traceparent of the latest delivery.
func (r *Receiver) Traceparent() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trace
}

// NewReceiver starts a receiver that answers every delivery with status.
func NewReceiver(t testing.TB, status int) *Receiver {
	t.Helper()
	r := &Receiver{
		Events: make(chan Event, 100),
		t:      t,
		status: status,
		seen:   map[string]bool{},
	}
	web := httptest.NewServer(r)
	t.Cleanup(web.Close)
	r.URL = web.URL + "/canary-path"
	return r
}

// Receive adds the settings that send events to the receiver.
func (f *Fixture) Receive(r *Receiver) {
	f.Environ["EVENTS_URL"] = r.URL
	f.Environ["EVENTS_SECRET"] = EventsSecret
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	verify, secretErr := standardwebhooks.NewWebhook(EventsSecret)
	if err = errors.Join(err, secretErr); err == nil {
		err = verify.Verify(body, req.Header)
	}
	var e Event
	if err = errors.Join(err, json.Unmarshal(body, &e)); err != nil {
		r.t.Error(err)
	}
	id := req.Header.Get("webhook-id")
	r.mu.Lock()
	known := r.seen[id]
	r.seen[id] = true
	r.trace = req.Header.Get("traceparent")
	r.mu.Unlock()
	if !known {
		r.Events <- e
	}
	w.WriteHeader(r.status)
}

// Next waits up to 30 seconds for the next event.
func (r *Receiver) Next() Event {
	r.t.Helper()
	select {
	case e := <-r.Events:
		return e
	case <-time.After(30 * time.Second):
		r.t.Fatal("no event arrived")
		panic("unreachable")
	}
}
