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
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/fleet"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
)

// callTimeout bounds the attempts of the bad handlers.
const callTimeout = time.Second

// Handlers panic, exit their goroutine, hang, or ignore their deadline: each attempt
// is bounded and its slot becomes free, the log says what happened, and what may have
// had its effect does not run again.
func TestBadHandlers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	vendor := newEffectCounter(t)
	hang := func(context.Context) { <-release }
	var tried atomic.Int32 // calls after the end of the task
	cases := []struct {
		name       string
		redelivery broker.Redelivery
		run        func(ctx context.Context, call func() error) error
		outcome    record.Outcome
		effects    int // of each task
		class      string
		// logged must be in the worker's log.
		logged string
	}{
		{
			name:    "panics before its call",
			outcome: record.Failed,
			class:   "panic",
			logged:  "the handler panicked",
			run:     func(context.Context, func() error) error { panic("before") },
		},
		{
			name:    "panics after its call",
			outcome: record.Unknown,
			effects: 1,
			class:   "panic",
			logged:  "the handler panicked",
			run:     func(_ context.Context, call func() error) error { _ = call(); panic("after") },
		},
		{
			name:    "exits its goroutine after its call",
			outcome: record.Unknown,
			effects: 1,
			run:     func(_ context.Context, call func() error) error { _ = call(); runtime.Goexit(); return nil },
		},
		{
			name:    "hangs after its call until its deadline",
			outcome: record.Unknown,
			effects: 1,
			run:     func(ctx context.Context, call func() error) error { _ = call(); <-ctx.Done(); return ctx.Err() },
		},
		{
			name:    "hangs before its call until its deadline",
			outcome: record.Failed,
			run:     func(ctx context.Context, _ func() error) error { <-ctx.Done(); return ctx.Err() },
		},
		{
			name:    "ignores its deadline after its call",
			outcome: record.Unknown,
			effects: 1,
			class:   "hang",
			logged:  "goroutines",
			run:     func(ctx context.Context, call func() error) error { err := call(); hang(ctx); return err },
		},
		{
			// Its call comes when the attempt has ended, and is not let out.
			name:    "ignores its deadline before its call",
			outcome: record.Failed,
			class:   "hang",
			logged:  "goroutines",
			run: func(ctx context.Context, call func() error) error {
				hang(ctx)
				defer tried.Add(1)
				return call()
			},
		},
		{
			name:       "read that ignores its deadline",
			redelivery: broker.AtLeastOnce,
			outcome:    record.Failed,
			class:      "hang",
			logged:     "goroutines",
			run:        func(ctx context.Context, _ func() error) error { hang(ctx); return nil },
		},
	}
	var definitions []worker.Definition
	for _, tc := range cases {
		definitions = append(definitions, define(tc.name, tc.redelivery, func(ctx context.Context, subject string) error {
			return tc.run(ctx, func() error { return vendor.call(ctx, subject) })
		}))
	}
	definitions = append(definitions, define("good", broker.AtMostOnce, vendor.call))
	h := newHandlerHarness(t, definitions)
	n := fleet.Size(3, 40)
	ids := map[string][]string{}
	for _, d := range definitions {
		for i := range n {
			ids[d.Type] = append(ids[d.Type], h.enqueue(d, fmt.Sprint(d.Type, i)))
		}
	}
	for _, tc := range cases {
		for _, id := range ids[tc.name] {
			got := h.wait(id)
			last := got.History[len(got.History)-1]
			if got.Outcome != tc.outcome || tc.class != "" && last.Class != tc.class {
				t.Errorf(
					"%s: %s, class %s, %q; want %s, class %s",
					tc.name,
					got.Outcome,
					last.Class,
					got.Message,
					tc.outcome,
					tc.class,
				)
			}
			if tc.outcome == record.Unknown && len(got.History) != 1 {
				t.Errorf("%s: %d attempts, want one", tc.name, len(got.History))
			}
			for _, a := range got.History {
				// The limit includes the grace for hanging handlers and a busy machine.
				if limit := callTimeout + 10*time.Second; a.Took > limit {
					t.Errorf("%s: an attempt took %v, want at most %v", tc.name, a.Took, limit)
				}
			}
		}
		// A dump of all goroutines takes a while.
		what := fmt.Sprintf("%s: the log contains %q", tc.name, tc.logged)
		testwait.Eventually(t, waitLimit, what, func() bool {
			return strings.Contains(h.log.String(), tc.logged)
		})
	}
	for _, id := range ids["good"] {
		if got := h.wait(id); got.Outcome != record.Done {
			t.Errorf("beside the bad ones a good task ended %s %q", got.Outcome, got.Message)
		}
	}
	// The hanging handlers continue, and try to call.
	free()
	testwait.Eventually(t, waitLimit, "the late calls", func() bool { return int(tried.Load()) == 2*n }) // of two attempts
	effects := n                                                                                         // of the good ones
	for _, tc := range cases {
		effects += tc.effects * n
	}
	testwait.Eventually(t, waitLimit, fmt.Sprintf("%d effects", effects), func() bool {
		return vendor.total() >= effects
	})
	if fleet.Long() {
		fleet.Elapse(t, fleet.QuietPhase)
		got := h.wait(h.enqueue(definitions[len(definitions)-1], "after a quiet phase"))
		if took := got.Ended.Sub(got.Created); took > 2*time.Second {
			t.Errorf("after a quiet phase a task took %v", took)
		}
	}
	stopping := time.Now()
	h.server.Shutdown()
	t.Logf(
		"%d bad handlers ran; the server stopped in %v",
		n*len(cases),
		time.Since(stopping).Round(time.Millisecond),
	)
	for _, tc := range cases {
		for i := range n {
			if got := vendor.of(fmt.Sprint(tc.name, i)); got != tc.effects {
				t.Errorf("%s: %d effects, want %d", tc.name, got, tc.effects)
			}
		}
	}
	log := h.log.String()
	dumps := strings.Count(log, `"goroutines"`)
	if dumps < 1 || !strings.Contains(log, "TestBadHandlers") {
		t.Errorf("%d dumps of goroutines, none of which shows the handler", dumps)
	}
}

// effectCounter is a vendor that counts its effects by subject.
type effectCounter struct {
	url    string
	caller *clients.Caller

	mu      sync.Mutex
	effects map[string]int
}

func newEffectCounter(t *testing.T) *effectCounter {
	t.Helper()
	v := &effectCounter{
		effects: map[string]int{},
		caller:  clients.NewCaller("test", clients.Timeouts{}, nil, nil),
	}
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.effects[r.URL.Query().Get("subject")]++
	}))
	t.Cleanup(web.Close)
	v.url = web.URL
	return v
}

// call has one effect, also after the deadline of the attempt.
func (v *effectCounter) call(ctx context.Context, subject string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, nil)
	if err != nil {
		return err
	}
	req.URL.RawQuery = "subject=" + strings.ReplaceAll(subject, " ", "+")
	_, err = v.caller.Do(context.WithoutCancel(ctx), "op", req)
	return err
}

func (v *effectCounter) of(subject string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.effects[subject]
}

func (v *effectCounter) total() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	sum := 0
	for _, n := range v.effects {
		sum += n
	}
	return sum
}

// handlerHarness is a server in this process that runs the test's own task types.
type handlerHarness struct {
	t        *testing.T
	server   *broker.Server
	producer *broker.Producer
	watcher  *record.Watcher
	log      *lockedBuffer
}

func newHandlerHarness(t *testing.T, definitions []worker.Definition) *handlerHarness {
	t.Helper()
	redis := redistest.New(t)
	store := record.New(redis.Client())
	h := &handlerHarness{
		t:        t,
		producer: broker.NewProducer(redis.Client(), store, nil),
		watcher:  record.NewWatcher(store),
		log:      &lockedBuffer{},
	}
	server, err := worker.NewServer(worker.Config{
		Redis:       redis.Client(),
		General:     redis.Client(),
		Queues:      map[string]int{"otp": 20},
		Definitions: definitions,
		Owner:       "test",
		Timeout:     func(string) time.Duration { return callTimeout },
		Grace:       10 * time.Second,
		Metrics:     worker.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.New(h.log),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	h.server = server
	t.Cleanup(server.Shutdown)
	return h
}

func (h *handlerHarness) enqueue(d worker.Definition, subject string) string {
	h.t.Helper()
	raw, err := json.Marshal(testPayload{Subject: subject})
	if err != nil {
		h.t.Fatal(err)
	}
	ticket, err := h.producer.Enqueue(h.t.Context(), broker.Job{Type: d.Type, Payload: raw, Policy: d.Base})
	if err != nil {
		h.t.Fatal(err)
	}
	return ticket.ID
}

func (h *handlerHarness) wait(id string) *record.Record {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Minute)
	defer cancel()
	got, err := h.watcher.Wait(ctx, id)
	if err = errors.Join(err, ctx.Err()); err != nil || len(got.History) == 0 {
		h.t.Fatalf("%s: %v, %+v", id, err, got)
	}
	return got
}

// testPayload is the payload of the harness's tasks.
type testPayload struct {
	Subject string `json:"subject"`
	name    string
	policy  broker.Policy
}

// Type implements worker.Payload.
func (p testPayload) Type() string {
	return p.name
}

// Policy implements worker.Payload.
func (p testPayload) Policy() broker.Policy {
	return p.policy
}

// define returns a task type with at most two attempts.
func define(
	name string,
	redelivery broker.Redelivery,
	run func(ctx context.Context, subject string) error,
) worker.Definition {
	policy := broker.Policy{
		Queue:      "otp",
		Budget:     10 * time.Minute,
		Attempts:   2,
		Redelivery: redelivery,
		Backoff:    broker.Backoff{Base: time.Millisecond, Max: time.Millisecond},
	}
	return worker.Definition{
		Type:   name,
		Vendor: "test",
		Base:   policy,
		Decode: func(raw []byte) (worker.Payload, error) {
			p := testPayload{name: name, policy: policy}
			return p, json.Unmarshal(raw, &p)
		},
		Run: func(ctx context.Context, p worker.Payload) (any, error) {
			return nil, run(ctx, p.(testPayload).Subject)
		},
	}
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
