package worker_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/worker"
)

func fault(kind clients.Kind, message string) error {
	return &clients.Error{Vendor: "test", Op: "op", Kind: kind, Code: "42", Message: message}
}

func TestEveryEnd(t *testing.T) {
	t.Parallel()
	returns := func(result any, err error) handler {
		return func(context.Context, string) (any, error) { return result, err }
	}
	defs := []worker.Definition{
		define("t:done", broker.Policy{}, returns(map[string]int{"n": 1}, nil)),
		define("t:nothing", broker.Policy{}, returns(nil, nil)),
		define("t:declined", broker.Policy{}, returns(map[string]string{"verdict": "incorrect"}, fault(clients.Declined, "wrong code"))),
		define("t:invalid", broker.Policy{}, returns(nil, fault(clients.Invalid, "bad length"))),
		define("t:unknown", broker.Policy{}, returns(nil, fault(clients.Unknown, "no answer"))),
		define("t:failed", broker.Policy{Attempts: 2}, returns(nil, fault(clients.Temporary, "maintenance"))),
		define("t:panic", broker.Policy{Attempts: 1}, func(context.Context, string) (any, error) { panic("canary") }),
		define("t:undecodable", broker.Policy{}, returns(nil, nil)),
	}
	r := newRig(t, defs...)
	r.work()
	for _, tc := range []struct {
		taskType string
		change   func(*broker.Job)
		outcome  record.Outcome
		state    asynq.TaskState
		attempts int
		data     string
		message  string
	}{
		{taskType: "t:done", outcome: record.Done, state: asynq.TaskStateCompleted, attempts: 1, data: `{"n":1}`},
		{taskType: "t:nothing", outcome: record.Done, state: asynq.TaskStateCompleted, attempts: 1},
		{taskType: "t:declined", outcome: record.Declined, state: asynq.TaskStateCompleted, attempts: 1, data: `{"verdict":"incorrect"}`, message: "wrong code"},
		{taskType: "t:invalid", outcome: record.Invalid, state: asynq.TaskStateArchived, attempts: 1, message: "bad length"},
		{taskType: "t:unknown", outcome: record.Unknown, state: asynq.TaskStateArchived, attempts: 1, message: "no answer"},
		{taskType: "t:failed", outcome: record.Failed, state: asynq.TaskStateArchived, attempts: 2, message: "gave up after 2 attempts"},
		{taskType: "t:panic", outcome: record.Failed, state: asynq.TaskStateArchived, attempts: 1, message: "the handler panicked (string)"},
		{taskType: "t:nosuch", change: func(j *broker.Job) { j.ExpireAfter = time.Second }, outcome: record.Expired, state: asynq.TaskStateArchived, message: "its time was up"},
		{taskType: "t:undecodable", change: func(j *broker.Job) { j.Payload = []byte(`{"name":7}`) }, outcome: record.Invalid, state: asynq.TaskStateArchived, message: "the payload is wrong"},
	} {
		t.Run(tc.taskType, func(t *testing.T) {
			t.Parallel()
			ticket := r.enqueue(tc.taskType, func(j *broker.Job) {
				if tc.change != nil {
					tc.change(j)
				}
			})
			got := r.wait(ticket.ID)
			if got.Outcome != tc.outcome || got.Attempts != tc.attempts || !strings.Contains(got.Message, tc.message) {
				t.Errorf("record = %+v", got)
			}
			data, err := broker.OpenResult(nil, got)
			if err != nil || string(data) != tc.data {
				t.Errorf("data = %s, %v", data, err)
			}
			if got := r.asynqState(ticket.ID); got != tc.state {
				t.Errorf("asynq says %s, want %s", got, tc.state)
			}
			info, err := r.asynq.GetTaskInfo("otp", ticket.ID)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(info.LastErr+got.Message, "canary") || strings.Contains(info.LastErr, "skip retry") {
				t.Errorf("error text: %q", info.LastErr)
			}
		})
	}
}

func TestRetriesUntilItWorks(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:flaky", broker.Policy{}, func(context.Context, string) (any, error) {
		if calls.Add(1) < 3 {
			return nil, fault(clients.Temporary, "maintenance")
		}
		return nil, nil
	}))
	r.work()
	got := r.wait(r.enqueue("t:flaky").ID)
	if got.Outcome != record.Done || len(got.History) != 3 {
		t.Fatalf("record = %+v", got)
	}
	if first, last := got.History[0], got.History[2]; first.Class != "temporary" || first.Code != "42" || last.Class != "done" {
		t.Errorf("history = %+v", got.History)
	}
}

func TestUnknownIsRepeatedOnlyWhereThatDoesNoHarm(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:read", broker.Policy{Redelivery: broker.AtLeastOnce}, func(context.Context, string) (any, error) {
		if calls.Add(1) == 1 {
			return nil, fault(clients.Unknown, "no answer")
		}
		return nil, nil
	}))
	r.work()
	if got := r.wait(r.enqueue("t:read").ID); got.Outcome != record.Done || got.Attempts != 2 {
		t.Errorf("record = %+v", got)
	}
}

func TestNothingRunsAfterItsTime(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:late", broker.Policy{}, func(context.Context, string) (any, error) {
		calls.Add(1)
		return nil, nil
	}))
	ticket := r.enqueue("t:late", func(j *broker.Job) { j.ExpireAfter = time.Millisecond })
	time.Sleep(5 * time.Millisecond) // Redis' clock must move on; there is no event for that
	r.work()
	got := r.wait(ticket.ID)
	if got.Outcome != record.Expired || calls.Load() != 0 || got.Attempts != 0 {
		t.Errorf("record = %+v after %d calls", got, calls.Load())
	}
	if state := r.asynqState(ticket.ID); state != asynq.TaskStateArchived {
		t.Errorf("asynq says %s", state)
	}
}

func TestParkedTasksSpendNoAttempt(t *testing.T) {
	t.Parallel()
	parked := make(chan struct{}, 100)
	r := newRig(t,
		define("t:cooling", broker.Policy{Budget: 2 * time.Second, Attempts: 1}, func(context.Context, string) (any, error) {
			parked <- struct{}{}
			return nil, &clients.Error{Vendor: "test", Kind: clients.Credentials, NotSent: true, Message: "resting", RetryAfter: 100 * time.Millisecond}
		}),
		define("t:elsewhere", broker.Policy{Budget: time.Second}, nil))
	r.work()
	cooling, elsewhere := r.enqueue("t:cooling").ID, r.enqueue("t:elsewhere").ID
	<-parked
	<-parked // it came back although it may be attempted only once
	for _, id := range []string{cooling, elsewhere} {
		got := r.wait(id)
		if got.Outcome != record.Expired || got.Attempts != 0 {
			t.Errorf("record = %+v", got)
		}
	}
}

func TestOneKeyOneCall(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:once", broker.Policy{}, func(context.Context, string) (any, error) {
		calls.Add(1)
		return nil, nil
	}))
	r.work()
	ids := make(chan string, 20)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ids <- r.enqueue("t:once", func(j *broker.Job) { j.Key = "the one" }).ID
		})
	}
	all.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("two tasks: %s, %s", first, id)
		}
	}
	r.wait(first)
	if again := r.enqueue("t:once", func(j *broker.Job) { j.Key = "the one" }); !again.Duplicate || again.Outcome != record.Done {
		t.Errorf("afterwards: %+v", again)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestShutdownLetsRunningTasksEnd(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, define("t:slow", broker.Policy{}, func(ctx context.Context, _ string) (any, error) {
		close(started)
		<-release
		return nil, ctx.Err()
	}))
	stop := r.work()
	id := r.enqueue("t:slow").ID
	<-started
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(release)
	<-stopped
	if got := r.wait(id); got.Outcome != record.Done {
		t.Errorf("record = %+v", got)
	}
	if state := r.asynqState(id); state != asynq.TaskStateCompleted {
		t.Errorf("asynq says %s", state)
	}
}

func TestAttemptsAreLogged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var lines []string
	r := newRig(t, define("t:logged", broker.Policy{}, func(context.Context, string) (any, error) {
		return nil, fault(clients.Unknown, "no answer")
	}))
	stop := r.work(func(c *worker.Config) {
		c.Log = zerolog.New(writer(func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, string(p))
		})).Level(zerolog.InfoLevel)
	})
	id := r.enqueue("t:logged").ID
	r.wait(id)
	stop()
	mu.Lock()
	defer mu.Unlock()
	if len(lines) != 1 {
		t.Fatalf("%d lines, want one for the attempt: %q", len(lines), lines)
	}
	for _, want := range []string{`"task_id":"` + id + `"`, `"outcome":"unknown"`, `"code":"42"`, `"class":"unknown"`, `"attempt":1`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s in %s", want, lines[0])
		}
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// A handler that ignores its context is left to itself: its slot is freed, its
// task ruled, and nothing runs twice.
func TestHandlersThatHang(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	var calls atomic.Int32
	var log strings.Builder
	var mu sync.Mutex
	r := newRig(t, define("t:hang", broker.Policy{}, func(context.Context, string) (any, error) {
		calls.Add(1)
		<-release
		return nil, nil
	}), define("t:next", broker.Policy{}, func(context.Context, string) (any, error) { return nil, nil }))
	r.work(func(c *worker.Config) {
		c.Queues = map[string]int{"otp": 1}
		c.Timeout = func(string) time.Duration { return 500 * time.Millisecond }
		c.Log = zerolog.New(writer(func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			log.Write(p)
		}))
	})
	hung, next := r.enqueue("t:hang").ID, r.enqueue("t:next").ID
	if got := r.wait(hung); got.Outcome != record.Unknown || got.History[0].Class != "hang" {
		t.Errorf("record = %+v", got)
	}
	if got := r.wait(next); got.Outcome != record.Done {
		t.Errorf("the slot was not freed: %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if calls.Load() != 1 || !strings.Contains(log.String(), "TestHandlersThatHang") {
		t.Errorf("%d calls; the dump of goroutines must show the handler", calls.Load())
	}
}

// An answer that the vendor's pages do not list is taken by its safe default, and counted
// so that somebody looks at it.
func TestUnlistedAnswersAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.define("t:send", broker.Policy{}, func(context.Context, string) (any, error) {
		return nil, &clients.Error{Vendor: "test", Op: "send", Kind: clients.Unknown, Unlisted: true}
	})
	registry := prometheus.NewRegistry()
	r.work(func(c *worker.Config) { c.Metrics = worker.NewMetrics(registry) })
	r.wait(r.enqueue("t:send").ID)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "errand_unlisted_answers_total" && f.GetMetric()[0].GetCounter().GetValue() == 1 {
			return
		}
	}
	t.Error("the answer was not counted")
}
