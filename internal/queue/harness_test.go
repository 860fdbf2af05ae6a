package queue_test

import (
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
)

// job is the payload of the tests' tasks; the test says what its handler does.
type job struct {
	Name     string `json:"name"`
	taskType string
	policy   queue.Policy
}

func (j job) Type() string         { return j.taskType }
func (j job) Policy() queue.Policy { return j.policy }

type handler func(ctx context.Context, name string) (any, error)

func define(taskType string, policy queue.Policy, run handler) queue.Definition {
	if policy.Queue == "" {
		policy.Queue = "otp"
	}
	if policy.Budget == 0 {
		policy.Budget = time.Minute
	}
	if policy.Backoff.Base == 0 {
		policy.Backoff = queue.Backoff{Base: time.Millisecond, Max: time.Millisecond}
	}
	d := queue.Definition{
		Type: taskType, Vendor: "test", Base: policy,
		Decode: func(raw []byte) (queue.Payload, error) {
			j := job{taskType: taskType, policy: policy}
			return j, json.Unmarshal(raw, &j)
		},
	}
	if run != nil {
		d.Run = func(ctx context.Context, p queue.Payload) (any, error) { return run(ctx, p.(job).Name) }
	}
	return d
}

type rig struct {
	t        *testing.T
	redis    *redistest.Server
	store    *ledger.Store
	watcher  *ledger.Watcher
	producer *queue.Producer
	asynq    *asynq.Inspector
	defs     map[string]queue.Definition
	ring     *seal.Ring
}

func newRig(t *testing.T, defs ...queue.Definition) *rig {
	t.Helper()
	server := redistest.New(t)
	rdb := server.Client()
	r := &rig{t: t, redis: server, store: ledger.New(rdb), asynq: asynq.NewInspectorFromRedisClient(rdb), defs: map[string]queue.Definition{}}
	r.watcher = ledger.NewWatcher(r.store)
	r.producer = queue.NewProducer(rdb, r.store, r.ring)
	for _, d := range defs {
		r.defs[d.Type] = d
	}
	return r
}

// define adds a task type before work begins.
func (r *rig) define(taskType string, policy queue.Policy, run handler) {
	r.defs[taskType] = define(taskType, policy, run)
}

// work starts a worker; the returned function stops it.
func (r *rig) work(change ...func(*queue.Config)) (stop func()) {
	r.t.Helper()
	cfg := queue.Config{
		Redis: r.redis.Client(), General: r.redis.Client(), Queues: map[string]int{"otp": 10}, Store: ledger.New(r.redis.Client()),
		Owner: "w-" + r.t.Name(), Timeout: func(string) time.Duration { return 5 * time.Second }, Grace: 10 * time.Second,
		Metrics: queue.NewMetrics(prometheus.NewRegistry()), Log: zerolog.New(io.Discard),
		Intervals: func(string) (poll, delay time.Duration) { return 25 * time.Millisecond, 250 * time.Millisecond },
	}
	for _, d := range r.defs {
		cfg.Definitions = append(cfg.Definitions, d)
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := queue.NewServer(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Shutdown)
	return s.Shutdown
}

func (r *rig) enqueue(taskType string, change ...func(*queue.Job)) queue.Ticket {
	r.t.Helper()
	j := queue.Job{Type: taskType, Payload: []byte(`{"name":"` + taskType + `"}`), Policy: queue.Policy{Queue: "otp", Budget: time.Minute}}
	if d, ok := r.defs[taskType]; ok {
		j.Policy = d.Base
	}
	for _, c := range change {
		c(&j)
	}
	ticket, err := r.producer.Enqueue(context.Background(), j)
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket
}

func (r *rig) wait(id string) *ledger.Record {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	record, err := r.watcher.Wait(ctx, id)
	if err != nil {
		r.t.Fatalf("wait for %s: %v (%+v)", id, err, record)
	}
	return record
}

// asynqState waits until asynq's own state of the task is no longer active: it
// follows the record's.
func (r *rig) asynqState(id string) asynq.TaskState {
	r.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; {
		info, err := r.asynq.GetTaskInfo("otp", id)
		if err != nil {
			r.t.Fatal(err)
		}
		if info.State != asynq.TaskStateActive || time.Now().After(deadline) {
			return info.State
		}
		time.Sleep(5 * time.Millisecond) // asynq tells nobody; there is nothing to wait on
	}
}

func client(r *rig) *redis.Client { return r.redis.Client() }
