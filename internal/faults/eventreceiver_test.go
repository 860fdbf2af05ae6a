package faults

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/internal/fleet"
	"errand.internal/internal/webtest"
)

var receiverSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, or more"))

// receiver is an operator's receiver of events. It verifies each request with the
// library of Standard Webhooks, and checks that every try of an event is the same.
// Until listen it refuses connections, at an address that is already reserved.
type receiver struct {
	t      *testing.T
	verify *standardwebhooks.Webhook
	port   *webtest.Port

	mu        sync.Mutex
	failure   http.HandlerFunc     // answers instead of accepting the event; nil accepts
	bodies    map[string]string    // by event
	tries     map[string]int       // by event
	accepted  map[string]time.Time // when an event was first accepted
	misrouted int                  // requests for another path
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	verify, err := standardwebhooks.NewWebhook(receiverSecret)
	if err != nil {
		t.Fatal(err)
	}
	return &receiver{
		t:        t,
		verify:   verify,
		port:     webtest.Reserve(t),
		bodies:   map[string]string{},
		tries:    map[string]int{},
		accepted: map[string]time.Time{},
	}
}

// url is where workers deliver events.
func (r *receiver) url() string {
	return "http://" + r.port.Addr + "/hook"
}

// settings are the settings of the workers.
func (r *receiver) settings() map[string]string {
	return map[string]string{
		"EVENTS_URL":    r.url(),
		"EVENTS_SECRET": receiverSecret,
		"WORKER_QUEUES": fleet.Queues("otp", "events"),
	}
}

// listen accepts connections from now on.
func (r *receiver) listen() {
	r.t.Helper()
	r.port.Serve(r.t, r)
}

// setFailure makes failure answer every request; nil accepts events.
func (r *receiver) setFailure(failure http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = failure
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err = errors.Join(err, r.verify.Verify(body, req.Header)); err != nil {
		r.t.Errorf("a request does not verify: %v", err)
	}
	if failure := r.record(req, string(body)); failure != nil {
		failure(w, req)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// record records a request and returns how it fails.
func (r *receiver) record(req *http.Request, body string) http.HandlerFunc {
	id := req.Header.Get("webhook-id")
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, known := r.bodies[id]; known && before != body {
		r.t.Errorf("the body of %s has changed: %s, before %s", id, body, before)
	}
	r.bodies[id] = body
	r.tries[id]++
	if req.URL.Path != "/hook" {
		r.misrouted++
	}
	if r.failure == nil && r.accepted[id].IsZero() {
		r.accepted[id] = time.Now()
	}
	return r.failure
}

// missing returns those of the events that were not accepted.
func (r *receiver) missing(ids []string) (left []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if r.accepted[id].IsZero() {
			left = append(left, id)
		}
	}
	return left
}

// requests returns the number of requests, in all and at most for one event.
func (r *receiver) requests() (all, perEvent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.tries {
		all += n
		perEvent = max(perEvent, n)
	}
	return all, perEvent
}
