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
	"errand.internal/internal/testwait"
)

// newSecret returns a secret that consists of one letter.
func newSecret(letter byte) string {
	raw := make([]byte, 24)
	for i := range raw {
		raw[i] = letter
	}
	return "whsec_" + base64.StdEncoding.EncodeToString(raw)
}

// delivery is one request that a receiver got.
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

// receiver is an operator's system. It verifies every request with the library
// of Standard Webhooks.
type receiver struct {
	t          testing.TB
	secret     string
	web        *httptest.Server
	deliveries chan delivery

	mu     sync.Mutex
	answer http.HandlerFunc
}

// newReceiver starts a receiver that answers 204 until respond changes that.
func newReceiver(t testing.TB, secret string) *receiver {
	t.Helper()
	r := &receiver{t: t, secret: secret, deliveries: make(chan delivery, 10_000)}
	r.web = httptest.NewServer(r)
	t.Cleanup(r.web.Close)
	return r
}

func (r *receiver) respond(h http.HandlerFunc) {
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
	r.deliveries <- d
}

func (r *receiver) next() delivery {
	r.t.Helper()
	select {
	case d := <-r.deliveries:
		return d
	case <-time.After(testwait.Limit):
		r.t.Fatal("no event arrived")
		panic("unreachable")
	}
}

// recorder records published events, each ID once, as the queue does.
type recorder struct {
	mu         sync.Mutex
	events     []events.Event
	ids        map[string]bool
	duplicates int
	fail       func(e events.Event) error
}

func (r *recorder) publish(_ context.Context, e events.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(e); err != nil {
			return err
		}
	}
	if r.ids == nil {
		r.ids = map[string]bool{}
	}
	if r.ids[e.ID] {
		r.duplicates++
		return nil
	}
	r.ids[e.ID] = true
	r.events = append(r.events, e)
	return nil
}

func (r *recorder) all() []events.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]events.Event(nil), r.events...)
}

// await waits for the first n events.
func (r *recorder) await(t testing.TB, n int) []events.Event {
	t.Helper()
	for end := time.Now().Add(testwait.Limit); ; {
		all := r.all()
		if len(all) >= n {
			return all
		}
		if time.Now().After(end) {
			t.Fatalf("%d events, want %d: %+v", len(all), n, all)
		}
		time.Sleep(time.Millisecond) // a Publish signals nobody
	}
}
