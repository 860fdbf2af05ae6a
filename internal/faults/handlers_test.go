package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/fleet"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
)

// callLimit bounds the attempts of the bad handlers.
const callLimit = time.Second

// Handlers that panic, end their goroutine, hang, or do not listen: each attempt
// is bounded and its slot freed, the log says what happened, and what may have
// happened does not happen again.
func TestBadHandlers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	v := newVendor(t)
	hang := func(context.Context) { <-release }
	cases := []struct {
		name       string
		repeatable bool
		run        func(ctx context.Context, call func() error) error
		outcome    ledger.Outcome
		effects    int // of each task
		class      string
		// logged is what the worker's log must say of it.
		logged string
	}{
		{
			name:    "panics before its call",
			outcome: ledger.Failed,
			class:   "panic",
			logged:  "the handler panicked",
			run:     func(context.Context, func() error) error { panic("before") },
		},
		{
			name:    "panics after its call",
			outcome: ledger.Uncertain,
			effects: 1,
			class:   "panic",
			logged:  "the handler panicked",
			run:     func(_ context.Context, call func() error) error { _ = call(); panic("after") },
		},
		{
			name:    "ends its goroutine after its call",
			outcome: ledger.Uncertain,
			effects: 1,
			run:     func(_ context.Context, call func() error) error { _ = call(); runtime.Goexit(); return nil },
		},
		{
			name:    "hangs after its call until its time is up",
			outcome: ledger.Uncertain,
			effects: 1,
			run:     func(ctx context.Context, call func() error) error { _ = call(); <-ctx.Done(); return ctx.Err() },
		},
		{
			name: "hangs before its call until its time is up", outcome: ledger.Failed,
			run: func(ctx context.Context, _ func() error) error { <-ctx.Done(); return ctx.Err() },
		},
		{
			name:    "ignores its time after its call",
			outcome: ledger.Uncertain,
			effects: 1,
			class:   "hang",
			logged:  "goroutines",
			run:     func(ctx context.Context, call func() error) error { err := call(); hang(ctx); return err },
		},
		{
			name:    "ignores its time before its call",
			outcome: ledger.Uncertain,
			effects: 1,
			class:   "hang",
			logged:  "goroutines",
			run:     func(ctx context.Context, call func() error) error { hang(ctx); return call() },
		},
		{
			name:       "a read that ignores its time",
			repeatable: true,
			outcome:    ledger.Failed,
			class:      "hang",
			logged:     "goroutines",
			run:        func(ctx context.Context, _ func() error) error { hang(ctx); return nil },
		},
	}
	var defs []queue.Definition
	for _, tc := range cases {
		defs = append(defs, define(tc.name, tc.repeatable, func(ctx context.Context, subject string) error {
			return tc.run(ctx, func() error { return v.call(ctx, subject) })
		}))
	}
	defs = append(
		defs,
		define("good", false, func(ctx context.Context, subject string) error { return v.call(ctx, subject) }),
	)
	b := newBench(t, defs)
	n := fleet.Size(3, 40)
	ids := map[string][]string{}
	for _, d := range defs {
		for i := range n {
			ids[d.Type] = append(ids[d.Type], b.enqueue(d, fmt.Sprint(d.Type, i)))
		}
	}
	for _, tc := range cases {
		for _, id := range ids[tc.name] {
			record := b.wait(id)
			last := record.History[len(record.History)-1]
			if record.Outcome != tc.outcome || tc.class != "" && last.Class != tc.class {
				t.Errorf(
					"%s: %s, class %s, %q; want %s, class %s",
					tc.name,
					record.Outcome,
					last.Class,
					record.Message,
					tc.outcome,
					tc.class,
				)
			}
			if tc.outcome == ledger.Uncertain && len(record.History) != 1 {
				t.Errorf("%s: %d attempts, want one", tc.name, len(record.History))
			}
			for _, a := range record.History {
				if most := callLimit + 10*time.Second; a.Took > most { // the hang's grace, and a busy machine
					t.Errorf("%s: an attempt took %v, want %v at most", tc.name, a.Took, most)
				}
			}
		}
		// A dump of all goroutines takes its time.
		if !until(t, soon, func() bool { return strings.Contains(b.log.String(), tc.logged) }) {
			t.Errorf("%s: the log does not say %q", tc.name, tc.logged)
		}
	}
	for _, id := range ids["good"] {
		if record := b.wait(id); record.Outcome != ledger.Done {
			t.Errorf("beside the bad ones a good task ended %s %q", record.Outcome, record.Message)
		}
	}
	// What was left hanging goes on, and may still call.
	free()
	want := 0
	for _, tc := range cases {
		want += tc.effects * n
	}
	if !until(t, soon, func() bool { return v.total() >= want+n }) {
		t.Errorf("%d effects, want %d", v.total(), want+n)
	}
	stopping := time.Now()
	b.server.Shutdown()
	t.Logf("%d bad handlers ran; the server stopped in %v", n*len(cases), time.Since(stopping).Round(time.Millisecond))
	for _, tc := range cases {
		for i := range n {
			if got := v.of(fmt.Sprint(tc.name, i)); got != tc.effects {
				t.Errorf("%s: %d effects, want %d", tc.name, got, tc.effects)
			}
		}
	}
	if dumps := strings.Count(b.log.String(), `"goroutines"`); dumps < 1 ||
		!strings.Contains(b.log.String(), "TestBadHandlers") {
		t.Errorf("%d dumps of goroutines, none that shows the handler", dumps)
	}
}

// vendor counts what is done to whom.
type vendor struct {
	url    string
	caller *clients.Caller
	mu     sync.Mutex
	done   map[string]int
}

func newVendor(t *testing.T) *vendor {
	t.Helper()
	v := &vendor{done: map[string]int{}, caller: clients.NewCaller("test", clients.Timeouts{}, nil, nil)}
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.done[r.URL.Query().Get("subject")]++
	}))
	t.Cleanup(web.Close)
	v.url = web.URL
	return v
}

// call has one effect. It goes out whatever has become of the attempt's time.
func (v *vendor) call(ctx context.Context, subject string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, nil)
	if err != nil {
		return err
	}
	req.URL.RawQuery = "subject=" + strings.ReplaceAll(subject, " ", "+")
	_, err = v.caller.Do(context.WithoutCancel(ctx), "op", req)
	return err
}

func (v *vendor) of(subject string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.done[subject]
}

func (v *vendor) total() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	sum := 0
	for _, n := range v.done {
		sum += n
	}
	return sum
}

// bench is a server in this process, whose tasks the test makes up.
type bench struct {
	t        *testing.T
	server   *queue.Server
	producer *queue.Producer
	watcher  *ledger.Watcher
	log      *logbook
}

func newBench(t *testing.T, defs []queue.Definition) *bench {
	t.Helper()
	redis := redistest.New(t)
	store := ledger.New(redis.Client())
	b := &bench{
		t:        t,
		producer: queue.NewProducer(redis.Client(), store, nil),
		watcher:  ledger.NewWatcher(store),
		log:      &logbook{},
	}
	server, err := queue.NewServer(queue.Config{
		Redis:       redis.Client(),
		General:     redis.Client(),
		Queues:      map[string]int{"otp": 20},
		Definitions: defs,
		Store:       store,
		Owner:       "bench",
		Timeout:     func(string) time.Duration { return callLimit },
		Grace:       10 * time.Second,
		Metrics:     queue.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.New(b.log),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	b.server = server
	t.Cleanup(server.Shutdown)
	return b
}

func (b *bench) enqueue(d queue.Definition, subject string) string {
	b.t.Helper()
	raw, err := json.Marshal(madeUp{Subject: subject})
	if err != nil {
		b.t.Fatal(err)
	}
	ticket, err := b.producer.Enqueue(b.t.Context(), queue.Job{Type: d.Type, Payload: raw, Defaults: d.Base})
	if err != nil {
		b.t.Fatal(err)
	}
	return ticket.ID
}

func (b *bench) wait(id string) *ledger.Record {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	record, err := b.watcher.Wait(ctx, id)
	if err = errors.Join(err, ctx.Err()); err != nil || len(record.History) == 0 {
		b.t.Fatalf("%s: %v, %+v", id, err, record)
	}
	return record
}

// madeUp is the payload of the bench's tasks.
type madeUp struct {
	Subject string `json:"subject"`
	name    string
	policy  queue.Defaults
}

func (m madeUp) Type() string             { return m.name }
func (m madeUp) Defaults() queue.Defaults { return m.policy }

// define makes a task type that is tried twice at most.
func define(name string, repeatable bool, run func(ctx context.Context, subject string) error) queue.Definition {
	policy := queue.Defaults{
		Queue:      "otp",
		Budget:     10 * time.Minute,
		Attempts:   2,
		Repeatable: repeatable,
		Backoff:    queue.Backoff{Base: time.Millisecond, Max: time.Millisecond},
	}
	return queue.Definition{
		Type:   name,
		Vendor: "test",
		Base:   policy,
		Decode: func(raw []byte) (queue.Payload, error) {
			m := madeUp{name: name, policy: policy}
			return m, json.Unmarshal(raw, &m)
		},
		Run: func(ctx context.Context, p queue.Payload) (any, error) { return nil, run(ctx, p.(madeUp).Subject) },
	}
}

// logbook is a log that can be read while it is written.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
