package tasks_test

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
	"errand.internal/internal/announce"
	"errand.internal/internal/events"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/tasks"
)

var eventSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, or more"))

func TestDeliveriesAreInternal(t *testing.T) {
	t.Parallel()
	for _, info := range tasks.Types() {
		if name := events.DeliverType; info.Internal || strings.HasPrefix(name, info.Type) ||
			strings.HasPrefix(info.Type, name) {
			t.Errorf("%s is listed, or begins like event:deliver", info.Type)
		}
	}
	info, ok := tasks.Find("event:deliver")
	if !ok || !info.Internal {
		t.Fatalf("%+v, %t", info, ok)
	}
	raw, err := json.Marshal(info.Example)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "internal", "event_deliver.json")
	clientstest.Golden(t, file, raw)
	for _, d := range tasks.Definitions(tasks.Vendors{}) {
		if d.Type != "event:deliver" {
			continue
		}
		if _, err := d.Decode(clientstest.ReadFile(t, file)); err != nil || d.Run != nil {
			t.Errorf("without a receiver: decode %v, runs %t", err, d.Run != nil)
		}
		if _, err := d.Decode([]byte(`{"id":"x","type":"y","timestamp":"z","data":"text"}`)); err == nil {
			t.Error("data that is no object was taken")
		}
	}
	c := open(t, redistest.New(t).URL())
	_, err = c.EnqueueJSON(t.Context(), "event:deliver", raw)
	if _, refused := errors.AsType[*tasks.PayloadError](err); !refused || !strings.Contains(err.Error(), "internal") {
		t.Errorf("a producer enqueued it: %v", err)
	}
}

// sink is a receiver that counts the requests of each event.
type sink struct {
	t     *testing.T
	mu    sync.Mutex
	tries map[string]int
	body  map[string]string
	took  []string // the events, in the order in which they were taken
	done  chan struct{}
	// answer, if not nil, may answer the n-th request of an event (from 0).
	answer func(n int, w http.ResponseWriter, r *http.Request) (taken bool)
}

func newSink(t *testing.T) *sink {
	return &sink{
		t:     t,
		tries: map[string]int{},
		body:  map[string]string{},
		done:  make(chan struct{}, 10_000),
	}
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	hook, hookErr := standardwebhooks.NewWebhook(eventSecret)
	if err = errors.Join(err, hookErr); err == nil {
		err = hook.Verify(body, r.Header)
	}
	if err != nil {
		s.t.Errorf("a request that does not verify: %v", err)
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
	if s.answer != nil && !s.answer(n, w, r) {
		return
	}
	s.mu.Lock()
	s.took = append(s.took, id)
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	s.done <- struct{}{}
}

// wait waits until so many were taken.
func (s *sink) wait(n int) {
	s.t.Helper()
	timeout := time.After(2 * time.Minute)
	for i := range n {
		select {
		case <-s.done:
		case <-timeout:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("%d of %d events came; requests %v", i, n, s.tries)
		}
	}
}

// post is a worker's way to a receiver.
func post(t *testing.T, rdb redis.UniversalClient, url string, call time.Duration) (*events.Sender, events.Publish) {
	t.Helper()
	cfg := events.Config{URL: secret.New(url), Secret: secret.New(eventSecret)}
	receiver, err := events.NewSink(cfg, rdb, seal.NewSalt(rdb))
	if err != nil {
		t.Fatal(err)
	}
	sender, err := events.NewSender(
		cfg,
		receiver,
		nil,
		clients.NewCaller(events.Vendor, clients.Timeouts{Call: call}, nil, nil),
		func(announce.Announcement) {},
	)
	if err != nil {
		t.Fatal(err)
	}
	return sender, tasks.Publisher(queue.NewProducer(rdb, ledger.New(rdb), nil))
}

// deliver starts a worker that delivers.
func deliver(t *testing.T, server *redistest.Server, owner string, vendors tasks.Vendors, queues map[string]int) {
	t.Helper()
	general := redis.NewClient(&redis.Options{Addr: server.Addr()})
	worker, err := queue.NewServer(queue.Config{
		Redis:       redis.NewClient(&redis.Options{Addr: server.Addr()}),
		General:     general,
		Store:       ledger.New(general),
		Queues:      queues,
		Definitions: tasks.Definitions(vendors),
		Owner:       owner,
		Timeout:     func(string) time.Duration { return 5 * time.Second },
		Grace:       10 * time.Second,
		Metrics:     queue.NewMetrics(prometheus.NewRegistry()),
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

// The receiver refuses connections, then answers 500, then
// redirects, then is slow; every event comes once it is back, under the same ID
// in every try, and each signature is valid for the library.
func TestAReceiverThatIsDownGetsEveryEventOnceItIsBack(t *testing.T) {
	t.Parallel()
	const n = 25
	server, s := redistest.New(t), newSink(t)
	web := httptest.NewServer(s)
	addr := web.Listener.Addr().String()
	web.Close() // connections are refused until it listens again
	s.answer = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			http.Redirect(w, r, "http://"+addr+"/elsewhere", http.StatusTemporaryRedirect)
		case 2:
			<-r.Context().Done() // longer than the sender waits
		default:
			return true
		}
		return false
	}
	sender, publish := post(t, server.Client(), "http://"+addr+"/hook", 500*time.Millisecond)
	deliver(t, server, "w", tasks.Vendors{Events: sender}, map[string]int{"events": n})
	want := map[string]bool{}
	for i := range n {
		e := events.Event{
			ID:        fmt.Sprint("evt_", i),
			Type:      "task.finished",
			Timestamp: "2026-01-31T12:00:00.000Z",
			Data:      json.RawMessage(fmt.Sprintf(`{"id":"otp-%d"}`, i)),
		}
		want[e.ID] = true
		for range 2 { // twice the same is one
			if err := publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	tried(t, server, n)
	serveAgain(t, addr, s)
	s.wait(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.took)
	if len(slices.Compact(s.took)) != n || len(s.body) != n {
		t.Errorf("taken: %v", s.took)
	}
	for id, tries := range s.tries {
		if !want[id] || tries != 4 {
			t.Errorf("%s came %d times, want 4", id, tries)
		}
	}
}

// tried waits until the first try of so many deliveries has failed.
func tried(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	store := ledger.New(server.Client())
	for end := time.Now().Add(time.Minute); ; {
		failed := 0
		for _, key := range server.Client().Keys(t.Context(), "errand:{events}:task:*").Val() {
			r, err := store.Get(t.Context(), key[strings.LastIndexByte(key, ':')+1:])
			if err != nil {
				t.Fatal(err)
			}
			if r.Attempts > 0 {
				failed++
			}
		}
		if failed == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d were tried", failed, n)
		}
	}
}

// 410 ends every delivery at once, tried or not.
func TestAReceiverThatIsGone(t *testing.T) {
	t.Parallel()
	server, s := redistest.New(t), newSink(t)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusGone)
		return false
	}
	sender, publish := post(t, server.Client(), web.URL, time.Second)
	deliver(t, server, "w", tasks.Vendors{Events: sender}, map[string]int{"events": 1})
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
	c := open(t, server.URL())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, key := range server.Client().Keys(t.Context(), "errand:{events}:task:*").Val() {
		status, err := c.Wait(ctx, key[strings.LastIndexByte(key, ':')+1:])
		if err != nil || status.Outcome != tasks.Failed ||
			!strings.Contains(status.Message, "the sink has said that it is gone") {
			t.Errorf("%+v, %v", status, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tries) != 1 {
		t.Errorf("it was called for %d events, want 1", len(s.tries))
	}
}

// Two workers poll; what changes is one event each, whoever saw it.
func TestAChangedCounterIsOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	s := newSink(t)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	for i := range 2 {
		vendors, err := w.connect(2 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		rdb := redis.NewClient(&redis.Options{Addr: w.redis.Addr()})
		sender, publish := post(t, rdb, web.URL, time.Second)
		vendors.Events, vendors.Changes = sender, events.NewDetector(rdb, seal.NewSalt(rdb), publish)
		deliver(t, w.redis, fmt.Sprint("w-", i), vendors, map[string]int{"polls": 2, "events": 2})
	}
	c := open(t, w.redis.URL())
	filters := tasks.MessengerFilters{Status: "A", DataIni: "today-7d"}
	for _, counter := range []int{4, 4, 6, 6, 6, 0} {
		if err := w.anna.SetAlerts("u-1001", counter); err != nil {
			t.Fatal(err)
		}
		ticket, err := tasks.Enqueue(
			t.Context(),
			c,
			tasks.MessengerAlerts{MessengerUser: tasks.MessengerUser{UserID: "u-1001"}, Filters: filters},
		)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wait(t, ticket); err != nil || got.AlertCounter != counter {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	// Other filters are another subject: this is its baseline.
	ticket, err := tasks.Enqueue(
		t.Context(),
		c,
		tasks.MessengerAlerts{MessengerUser: tasks.MessengerUser{UserID: "u-1001"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, ticket); err != nil {
		t.Fatal(err)
	}
	s.wait(2)
	s.mu.Lock()
	defer s.mu.Unlock()
	type body struct {
		Type string
		Data struct {
			Subject           map[string]any
			Previous, Current int
			Sequence          int64
		}
	}
	var got []body
	for _, raw := range s.body {
		var b body
		if err := json.Unmarshal([]byte(raw), &b); err != nil {
			t.Fatal(err)
		}
		got = append(got, b)
	}
	slices.SortFunc(got, func(a, b body) int { return int(a.Data.Sequence - b.Data.Sequence) })
	if len(got) != 2 || got[0].Type != "messenger.alerts.changed" || got[0].Data.Previous != 4 || got[0].Data.Current != 6 || got[1].Data.Previous != 6 ||
		got[1].Data.Current != 0 ||
		got[1].Data.Sequence != got[0].Data.Sequence+1 ||
		len(s.took) != 2 {
		t.Fatalf("events %+v", got)
	}
	if want := fmt.Sprint(map[string]any{"userId": "u-1001", "messengerFilters": map[string]any{"status": "A", "dataIni": "today-7d"}}); fmt.Sprint(
		got[0].Data.Subject,
	) != want {
		t.Errorf("subject %v, want %s", got[0].Data.Subject, want)
	}
}
