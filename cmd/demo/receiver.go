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

	"errand.internal/internal/events"
)

const eventsMount = "/events"

// receiver is the operator's own system, as far as the demo needs one: it
// verifies events and keeps them.
type receiver struct {
	secret string
	hook   *standardwebhooks.Webhook

	mu      sync.Mutex
	taken   map[string]received // by webhook-id
	changed chan struct{}       // closed and replaced with every event
	show    io.Writer           // nil: events are not printed
}

// received is the body of an event.
type received struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

func newReceiver() (*receiver, error) {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	hook, err := standardwebhooks.NewWebhook(secret)
	return &receiver{
		secret:  secret,
		hook:    hook,
		taken:   map[string]received{},
		changed: make(chan struct{}),
	}, err
}

// environ are the settings that have a worker send its events here.
func (r *receiver) environ(base string) map[string]string {
	return map[string]string{"EVENTS_URL": base + eventsMount, "EVENTS_SECRET": r.secret}
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var event received
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err = errors.Join(err, r.hook.Verify(body, req.Header)); err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil {
		http.Error(w, "not an event of this demo", http.StatusUnauthorized)
		return
	}
	r.take(req.Header.Get("webhook-id"), event)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) take(id string, event received) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, before := r.taken[id]; before {
		return
	}
	r.taken[id] = event
	close(r.changed)
	r.changed = make(chan struct{})
	if r.show != nil {
		_, _ = fmt.Fprintf(r.show, "  event  %s %s\n", event.Type, event.Data)
	}
}

// print has the events that come from now on printed.
func (r *receiver) print(to io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.show = to
}

// counter waits for the event that a user's alert counter has reached n.
func (r *receiver) counter(
	ctx context.Context,
	userID string,
	n int,
) (sequence int64, err error) {
	for {
		r.mu.Lock()
		changed := r.changed
		for _, e := range r.taken {
			var d struct {
				Subject struct {
					UserID string `json:"userId"`
				} `json:"subject"`
				Current  int   `json:"current"`
				Sequence int64 `json:"sequence"`
			}
			if e.Type == events.AlertsChanged && json.Unmarshal(e.Data, &d) == nil &&
				d.Subject.UserID == userID &&
				d.Current == n {
				r.mu.Unlock()
				return d.Sequence, nil
			}
		}
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("no event has come: %w", ctx.Err())
		}
	}
}
