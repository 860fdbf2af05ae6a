package events_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/internal/events"
)

// newSecret makes a secret that is told apart by its letter.
func newSecret(letter byte) string {
	raw := make([]byte, 24)
	for i := range raw {
		raw[i] = letter
	}
	return "whsec_" + base64.StdEncoding.EncodeToString(raw)
}

// delivery is one request that a receiver has got.
type delivery struct {
	id    string
	body  []byte
	event struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	header http.Header
}

// receiver is an operator's system. It checks every request with the library of
// Standard Webhooks.
type receiver struct {
	t      testing.TB
	secret string
	web    *httptest.Server
	got    chan delivery

	mu     sync.Mutex
	answer http.HandlerFunc
}

// newReceiver starts one that answers 204 until told otherwise.
func newReceiver(t testing.TB, secret string) *receiver {
	t.Helper()
	r := &receiver{t: t, secret: secret, got: make(chan delivery, 10_000)}
	r.web = httptest.NewServer(r)
	t.Cleanup(r.web.Close)
	return r
}

func (r *receiver) answers(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	d := delivery{id: req.Header.Get("webhook-id"), header: req.Header.Clone()}
	d.body, _ = io.ReadAll(req.Body)
	hook, err := standardwebhooks.NewWebhook(r.secret)
	if err == nil {
		err = hook.Verify(d.body, req.Header)
	}
	if err == nil {
		err = json.Unmarshal(d.body, &d.event)
	}
	if err != nil || req.Method != http.MethodPost {
		r.t.Errorf("%s %s with %s: %v", req.Method, d.id, d.body, err)
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	}
	answer(w, req)
	r.got <- d
}

func (r *receiver) next() delivery {
	r.t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(30 * time.Second):
		r.t.Fatal("no event has come")
		panic("unreachable")
	}
}

// shelf is a Publish that keeps events, each ID once, as the queue does.
type shelf struct {
	mu     sync.Mutex
	events []events.Event
	ids    map[string]bool
	doubts int
	fail   func(e events.Event) error
}

func (s *shelf) publish(_ context.Context, e events.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(e); err != nil {
			return err
		}
	}
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	if s.ids[e.ID] {
		s.doubts++
		return nil
	}
	s.ids[e.ID] = true
	s.events = append(s.events, e)
	return nil
}

func (s *shelf) all() []events.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]events.Event(nil), s.events...)
}

// when waits for the first n events.
func (s *shelf) when(t testing.TB, n int) []events.Event {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		all := s.all()
		if len(all) >= n {
			return all
		}
		if time.Now().After(end) {
			t.Fatalf("%d events, want %d: %+v", len(all), n, all)
		}
		time.Sleep(time.Millisecond) // a Publish tells nobody
	}
}
