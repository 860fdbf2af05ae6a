package deliver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/events"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/testwait"
	"errand.internal/internal/webtest"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

var eventSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, or more"))

// Producers cannot enqueue deliveries: the type is no vendor's.
func TestDeliveriesAreInternal(t *testing.T) {
	t.Parallel()
	for _, info := range all.Vendors.Types() {
		//nolint:gocritic // either may begin the other
		if strings.HasPrefix(events.DeliverType, info.Type) || strings.HasPrefix(info.Type, events.DeliverType) {
			t.Errorf("%s begins like %s", info.Type, events.DeliverType)
		}
	}
	raw, err := json.Marshal(deliver.Example)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Vendors.Decode(events.DeliverType, raw); !errors.Is(err, tasks.ErrUnknownType) {
		t.Errorf("a producer can enqueue it: %v", err)
	}
}

func TestDefinitionWithoutASender(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(deliver.Example)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "event_deliver.json")
	clientstest.Golden(t, file, raw)
	d := deliver.Definition(nil)
	if _, err := d.Decode(clientstest.ReadFile(t, file)); err != nil || d.Run != nil {
		t.Errorf("decode: %v, runs: %t", err, d.Run != nil)
	}
	if _, err := d.Decode([]byte(`{"id":"x","type":"y","timestamp":"z","data":"text"}`)); err == nil {
		t.Error("data that is not an object was accepted")
	}
}

// receiver is an operator's system that counts the requests for each event.
type receiver struct {
	t     *testing.T
	mu    sync.Mutex
	tries map[string]int
	body  map[string]string
	// accepted are the events, in the order in which they were accepted.
	accepted []string
	done     chan struct{}
	// refuse, if set, may answer the n-th request for an event (from 0) and return
	// true; else the event is accepted.
	refuse func(n int, w http.ResponseWriter, r *http.Request) bool
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{
		t:     t,
		tries: map[string]int{},
		body:  map[string]string{},
		done:  make(chan struct{}, 10_000),
	}
}

// ServeHTTP implements http.Handler.
func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	hook, hookErr := standardwebhooks.NewWebhook(eventSecret)
	if err = errors.Join(err, hookErr); err == nil {
		err = hook.Verify(body, r.Header)
	}
	if err != nil {
		s.t.Errorf("the signature does not verify: %v", err)
	}
	id := r.Header.Get("webhook-id")
	s.mu.Lock()
	n := s.tries[id]
	s.tries[id]++
	if before, known := s.body[id]; known && before != string(body) {
		s.t.Errorf("%s has another body than before: %s, %s", id, body, before)
	}
	s.body[id] = string(body)
	s.mu.Unlock()
	if s.refuse != nil && s.refuse(n, w, r) {
		return
	}
	s.mu.Lock()
	s.accepted = append(s.accepted, id)
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	s.done <- struct{}{}
}

// wait waits until n events were accepted.
func (s *receiver) wait(n int) {
	s.t.Helper()
	timeout := time.After(2 * time.Minute)
	for i := range n {
		select {
		case <-s.done:
		case <-timeout:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("%d of %d events were accepted; requests %v", i, n, s.tries)
		}
	}
}

// newSender returns a sender of events to url, whose calls end after call.
func newSender(t *testing.T, rdb redis.UniversalClient, url string, call time.Duration) *events.Sender {
	t.Helper()
	cfg := events.Config{URL: secret.New(url), Secret: secret.New(eventSecret)}
	receiver, err := events.NewReceiver(cfg, rdb, seal.NewSalt(rdb))
	if err != nil {
		t.Fatal(err)
	}
	caller := clients.NewCaller(events.Vendor, clients.Timeouts{Call: call}, nil, nil)
	sender, err := events.NewSender(cfg, receiver, nil, caller, func(alert.Alert) {}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

func newPublish(rdb redis.UniversalClient) events.Publish {
	return deliver.Publisher(broker.NewProducer(rdb, record.New(rdb), nil))
}

// startWorker starts a worker that delivers up to n events at once.
func startWorker(t *testing.T, server *redistest.Server, sender *events.Sender, n int) {
	t.Helper()
	general := redis.NewClient(&redis.Options{Addr: server.Addr()})
	worker, err := worker.NewServer(worker.Config{
		Redis:       redis.NewClient(&redis.Options{Addr: server.Addr()}),
		General:     general,
		Queues:      map[string]int{events.Queue: n},
		Definitions: []worker.Definition{deliver.Definition(sender)},
		Owner:       "worker",
		Timeout:     func(string) time.Duration { return 5 * time.Second },
		Grace:       10 * time.Second,
		Metrics:     worker.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.New(io.Discard),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Shutdown)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
}

// The receiver refuses connections, then answers 500, then redirects, then is slow.
// Once it is back it gets every event, with the same ID in every try and with
// signatures that the library of Standard Webhooks accepts.
func TestReceiverThatWasDownGetsEveryEvent(t *testing.T) {
	t.Parallel()
	const n = 25
	server, s := redistest.New(t), newReceiver(t)
	port := webtest.Reserve(t)
	s.refuse = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			http.Redirect(w, r, "http://"+port.Addr+"/elsewhere", http.StatusTemporaryRedirect)
		case 2:
			<-r.Context().Done() // longer than the sender waits
		default:
			return false
		}
		return true
	}
	sender := newSender(t, server.Client(), "http://"+port.Addr+"/hook", 500*time.Millisecond)
	startWorker(t, server, sender, n)
	publish := newPublish(server.Client())
	want := map[string]bool{}
	for i := range n {
		e := events.Event{
			ID:        fmt.Sprint("evt_", i),
			Type:      "task.finished",
			Timestamp: "2026-01-31T12:00:00.000Z",
			Data:      json.RawMessage(fmt.Sprintf(`{"id":"task%d"}`, i)),
		}
		want[e.ID] = true
		for range 2 { // the second time has no effect
			if err := publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	waitForFailures(t, server, n)
	port.Serve(t, s)
	s.wait(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.accepted)
	if len(slices.Compact(s.accepted)) != n || len(s.body) != n {
		t.Errorf("accepted: %v", s.accepted)
	}
	for id, tries := range s.tries {
		if !want[id] || tries != 4 {
			t.Errorf("%s was sent %d times, want 4", id, tries)
		}
	}
}

// waitForFailures waits until the first try of n deliveries has failed.
func waitForFailures(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	store := record.New(server.Client())
	testwait.Eventually(t, time.Minute, "the first try of every delivery fails", func() bool {
		failed := 0
		for _, id := range taskIDs(t, server) {
			r, err := store.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if r.Attempts > 0 {
				failed++
			}
		}
		return failed == n
	})
}

// taskIDs lists the tasks that deliver events.
func taskIDs(t *testing.T, server *redistest.Server) []string {
	t.Helper()
	keys, err := server.Client().Keys(t.Context(), "errand:{events}:task:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		keys[i] = key[strings.LastIndexByte(key, ':')+1:]
	}
	return keys
}

// 410 ends every delivery at once, tried or not.
func TestReceiverThatIsGone(t *testing.T) {
	t.Parallel()
	server, s := redistest.New(t), newReceiver(t)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.refuse = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusGone)
		return true
	}
	startWorker(t, server, newSender(t, server.Client(), web.URL, time.Second), 1)
	publish := newPublish(server.Client())
	for i := range 3 {
		if err := publish(t.Context(), events.Event{
			ID:        fmt.Sprint("evt_", i),
			Type:      "x",
			Timestamp: "t",
			Data:      json.RawMessage(`{}`),
		}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := tasks.Open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, id := range taskIDs(t, server) {
		status, err := c.Wait(ctx, id)
		if err != nil || status.Outcome != tasks.Failed ||
			!strings.Contains(status.Message, "the receiver answered 410 Gone") {
			t.Errorf("%+v, %v", status, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tries) != 1 {
		t.Errorf("it was called for %d events, want 1", len(s.tries))
	}
}
