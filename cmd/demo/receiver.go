package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// eventsPath is where the receiver is served.
const eventsPath = "/events"

// receiver receives the worker's events, as the operator's own system would: it
// verifies their signatures and ignores repeated deliveries.
type receiver struct {
	secret  string
	webhook *standardwebhooks.Webhook

	mu      sync.Mutex
	events  map[string]event // by webhook-id
	changed chan struct{}    // closed and replaced with every event
	out     io.Writer        // where events are printed; nil for nowhere
}

// event is the body of an event.
type event struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

func newReceiver() (*receiver, error) {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	webhook, err := standardwebhooks.NewWebhook(secret)
	return &receiver{
		secret:  secret,
		webhook: webhook,
		events:  map[string]event{},
		changed: make(chan struct{}),
	}, err
}

// environ returns the settings that make a worker send its events here. base is
// the address that serves eventsPath.
func (r *receiver) environ(base string) map[string]string {
	return map[string]string{"EVENTS_URL": base + eventsPath, "EVENTS_SECRET": r.secret}
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var e event
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err = errors.Join(err, r.webhook.Verify(body, req.Header)); err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		http.Error(w, "not an event of this demo", http.StatusUnauthorized)
		return
	}
	r.add(req.Header.Get("webhook-id"), e)
	w.WriteHeader(http.StatusNoContent)
}

// add stores an event, unless it was delivered before.
func (r *receiver) add(id string, e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.events[id]; known {
		return
	}
	r.events[id] = e
	close(r.changed)
	r.changed = make(chan struct{})
	if r.out != nil {
		_, _ = fmt.Fprintf(r.out, "  event  %s %s\n", e.Type, e.Data)
	}
}

// printTo prints the events that arrive from now on.
func (r *receiver) printTo(out io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = out
}

// await returns once an event of the type has arrived for whose data matches
// returns true.
func (r *receiver) await(
	ctx context.Context,
	eventType string,
	matches func(data json.RawMessage) bool,
) error {
	for {
		found, changed := r.find(eventType, matches)
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for a %s event: %w", eventType, ctx.Err())
		}
	}
}

// find looks for an event. changed is closed when another one arrives.
func (r *receiver) find(
	eventType string,
	matches func(data json.RawMessage) bool,
) (found bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Type == eventType && matches(e.Data) {
			return true, nil
		}
	}
	return false, r.changed
}
