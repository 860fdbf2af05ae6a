package queue_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
)

func fault(kind clients.Kind, message string) error {
	return &clients.Error{Vendor: "test", Op: "op", Kind: kind, Code: "42", Message: message}
}

func TestEveryEnd(t *testing.T) {
	t.Parallel()
	returns := func(result any, err error) handler {
		return func(context.Context, string) (any, error) { return result, err }
	}
	defs := []queue.Definition{
		define("t:done", queue.Policy{}, returns(map[string]int{"n": 1}, nil)),
		define("t:nothing", queue.Policy{}, returns(nil, nil)),
		define("t:declined", queue.Policy{}, returns(map[string]string{"verdict": "incorrect"}, fault(clients.Declined, "wrong code"))),
		define("t:invalid", queue.Policy{}, returns(nil, fault(clients.Invalid, "bad length"))),
		define("t:unknown", queue.Policy{}, returns(nil, fault(clients.Unknown, "no answer"))),
		define("t:failed", queue.Policy{Attempts: 2}, returns(nil, fault(clients.Temporary, "maintenance"))),
		define("t:panic", queue.Policy{Attempts: 1}, func(context.Context, string) (any, error) { panic("canary") }),
		define("t:undecodable", queue.Policy{}, returns(nil, nil)),
	}
	r := newRig(t, defs...)
	r.work()
	for _, tc := range []struct {
		taskType string
		change   func(*queue.Job)
		outcome  ledger.Outcome
		state    asynq.TaskState
		attempts int
		data     string
		message  string
	}{
		{taskType: "t:done", outcome: ledger.Done, state: asynq.TaskStateCompleted, attempts: 1, data: `{"n":1}`},
		{taskType: "t:nothing", outcome: ledger.Done, state: asynq.TaskStateCompleted, attempts: 1},
		{taskType: "t:declined", outcome: ledger.Declined, state: asynq.TaskStateCompleted, attempts: 1, data: `{"verdict":"incorrect"}`, message: "wrong code"},
		{taskType: "t:invalid", outcome: ledger.Invalid, state: asynq.TaskStateArchived, attempts: 1, message: "bad length"},
		{taskType: "t:unknown", outcome: ledger.Unknown, state: asynq.TaskStateArchived, attempts: 1, message: "no answer"},
		{taskType: "t:failed", outcome: ledger.Failed, state: asynq.TaskStateArchived, attempts: 2, message: "gave up after 2 attempts"},
		{taskType: "t:panic", outcome: ledger.Failed, state: asynq.TaskStateArchived, attempts: 1, message: "the handler panicked (string)"},
		{taskType: "t:nosuch", outcome: ledger.Invalid, state: asynq.TaskStateArchived, message: "no such task type"},
		{taskType: "t:undecodable", change: func(j *queue.Job) { j.Payload = []byte(`{"name":7}`) }, outcome: ledger.Invalid, state: asynq.TaskStateArchived, message: "the payload is wrong"},
	} {
		t.Run(tc.taskType, func(t *testing.T) {
			t.Parallel()
			ticket := r.enqueue(tc.taskType, func(j *queue.Job) {
				if tc.change != nil {
					tc.change(j)
				}
			})
			record := r.wait(ticket.ID)
			if record.Outcome != tc.outcome || record.Attempts != tc.attempts || !strings.Contains(record.Message, tc.message) {
				t.Errorf("record = %+v", record)
			}
			data, err := queue.OpenResult(nil, record)
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
			if strings.Contains(info.LastErr+record.Message, "canary") || strings.Contains(info.LastErr, "skip retry") {
				t.Errorf("error text: %q", info.LastErr)
			}
		})
	}
}

func TestRetriesUntilItWorks(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:flaky", queue.Policy{}, func(context.Context, string) (any, error) {
		if calls.Add(1) < 3 {
			return nil, fault(clients.Temporary, "maintenance")
		}
		return nil, nil
	}))
	r.work()
	record := r.wait(r.enqueue("t:flaky").ID)
	if record.Outcome != ledger.Done || len(record.History) != 3 {
		t.Fatalf("record = %+v", record)
	}
	if first, last := record.History[0], record.History[2]; first.Class != "temporary" || first.Code != "42" || last.Class != "done" {
		t.Errorf("history = %+v", record.History)
	}
}

func TestUnknownIsRepeatedOnlyWhereThatDoesNoHarm(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:read", queue.Policy{Redelivery: queue.AtLeastOnce}, func(context.Context, string) (any, error) {
		if calls.Add(1) == 1 {
			return nil, fault(clients.Unknown, "no answer")
		}
		return nil, nil
	}))
	r.work()
	if record := r.wait(r.enqueue("t:read").ID); record.Outcome != ledger.Done || record.Attempts != 2 {
		t.Errorf("record = %+v", record)
	}
}

func TestNothingRunsAfterItsTime(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:late", queue.Policy{}, func(context.Context, string) (any, error) {
		calls.Add(1)
		return nil, nil
	}))
	ticket := r.enqueue("t:late", func(j *queue.Job) { j.ExpireAfter = time.Millisecond })
	time.Sleep(5 * time.Millisecond) // Redis' clock must move on; there is no event for that
	r.work()
	record := r.wait(ticket.ID)
	if record.Outcome != ledger.Expired || calls.Load() != 0 || record.Attempts != 0 {
		t.Errorf("record = %+v after %d calls", record, calls.Load())
	}
	if state := r.asynqState(ticket.ID); state != asynq.TaskStateArchived {
		t.Errorf("asynq says %s", state)
	}
}

func TestParkedTasksSpendNoAttempt(t *testing.T) {
	t.Parallel()
	parked := make(chan struct{}, 100)
	r := newRig(t,
		define("t:cooling", queue.Policy{Budget: 2 * time.Second, Attempts: 1}, func(context.Context, string) (any, error) {
			parked <- struct{}{}
			return nil, &clients.Error{Vendor: "test", Kind: clients.Credentials, NotSent: true, Message: "resting", RetryAfter: 100 * time.Millisecond}
		}),
		define("t:elsewhere", queue.Policy{Budget: time.Second}, nil))
	r.work()
	cooling, elsewhere := r.enqueue("t:cooling").ID, r.enqueue("t:elsewhere").ID
	<-parked
	<-parked // it came back although it may be attempted only once
	for _, id := range []string{cooling, elsewhere} {
		record := r.wait(id)
		if record.Outcome != ledger.Expired || record.Attempts != 0 {
			t.Errorf("record = %+v", record)
		}
	}
}

func TestOneKeyOneCall(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, define("t:once", queue.Policy{}, func(context.Context, string) (any, error) {
		calls.Add(1)
		return nil, nil
	}))
	r.work()
	ids := make(chan string, 20)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ids <- r.enqueue("t:once", func(j *queue.Job) { j.Key = "the one" }).ID
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
	if again := r.enqueue("t:once", func(j *queue.Job) { j.Key = "the one" }); !again.Duplicate || again.Outcome != ledger.Done {
		t.Errorf("afterwards: %+v", again)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestAProducerThatDiedBetweenItsStepsIsHelped(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:half", queue.Policy{}, func(context.Context, string) (any, error) { return nil, nil }))
	// Its first step only.
	created, err := r.store.Create(t.Context(), ledger.NewTask{
		Queue: "otp", Type: "t:half", Key: "k", Payload: []byte(`{"name":"t:half"}`), Usable: time.Minute, KeyLife: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	ticket := r.enqueue("t:half", func(j *queue.Job) { j.Key = "k" })
	if !ticket.Duplicate || ticket.ID != created.ID {
		t.Fatalf("ticket = %+v", ticket)
	}
	r.work()
	if record := r.wait(ticket.ID); record.Outcome != ledger.Done {
		t.Errorf("record = %+v", record)
	}
}

func TestATaskFromElsewhereEndsInvalid(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:plain", queue.Policy{Redelivery: queue.AtLeastOnce}, func(context.Context, string) (any, error) { return nil, nil }))
	r.work()
	plain := asynq.NewClientFromRedisClient(client(r))
	if _, err := plain.Enqueue(asynq.NewTask("t:plain", []byte(`{"name":"x"}`)), asynq.Queue("otp"), asynq.TaskID("otp_plain"), asynq.MaxRetry(0)); err != nil {
		t.Fatal(err)
	}
	record := r.waitRewritten("otp_plain")
	if record.Outcome != ledger.Invalid || !strings.Contains(record.Message, "errand-expires-at") {
		t.Errorf("record = %+v", record)
	}
}

func TestShutdownLetsRunningTasksEnd(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, define("t:slow", queue.Policy{}, func(ctx context.Context, _ string) (any, error) {
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
	if record := r.wait(id); record.Outcome != ledger.Done {
		t.Errorf("record = %+v", record)
	}
	if state := r.asynqState(id); state != asynq.TaskStateCompleted {
		t.Errorf("asynq says %s", state)
	}
}

func TestAttemptsAreLogged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var lines []string
	r := newRig(t, define("t:logged", queue.Policy{}, func(context.Context, string) (any, error) {
		return nil, fault(clients.Unknown, "no answer")
	}))
	stop := r.work(func(c *queue.Config) {
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
	r := newRig(t, define("t:hang", queue.Policy{}, func(context.Context, string) (any, error) {
		calls.Add(1)
		<-release
		return nil, nil
	}), define("t:next", queue.Policy{}, func(context.Context, string) (any, error) { return nil, nil }))
	r.work(func(c *queue.Config) {
		c.Queues = map[string]int{"otp": 1}
		c.Timeout = func(string) time.Duration { return 100 * time.Millisecond }
		c.Log = zerolog.New(writer(func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			log.Write(p)
		}))
	})
	hung, next := r.enqueue("t:hang").ID, r.enqueue("t:next").ID
	if record := r.wait(hung); record.Outcome != ledger.Unknown || record.History[0].Class != "hang" {
		t.Errorf("record = %+v", record)
	}
	if record := r.wait(next); record.Outcome != ledger.Done {
		t.Errorf("the slot was not freed: %+v", record)
	}
	mu.Lock()
	defer mu.Unlock()
	if calls.Load() != 1 || !strings.Contains(log.String(), "TestHandlersThatHang") {
		t.Errorf("%d calls; the dump of goroutines must show the handler", calls.Load())
	}
}
