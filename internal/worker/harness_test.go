package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
)

// job is the payload of the tests' tasks; the test says what its handler does.
type job struct {
	Name     string `json:"name"`
	taskType string
	policy   broker.Policy
}

func (j job) Type() string          { return j.taskType }
func (j job) Policy() broker.Policy { return j.policy }

type handler func(ctx context.Context, name string) (any, error)

func define(taskType string, policy broker.Policy, run handler) worker.Definition {
	if policy.Queue == "" {
		policy.Queue = "otp"
	}
	if policy.Budget == 0 {
		policy.Budget = time.Minute
	}
	if policy.Backoff.Base == 0 {
		policy.Backoff = broker.Backoff{Base: time.Millisecond, Max: time.Millisecond}
	}
	d := worker.Definition{
		Type: taskType, Vendor: "test", Base: policy,
		Decode: func(raw []byte) (worker.Payload, error) {
			j := job{taskType: taskType, policy: policy}
			return j, json.Unmarshal(raw, &j)
		},
	}
	if run != nil {
		d.Run = func(ctx context.Context, p worker.Payload) (any, error) {
			if err := clients.StartAttempt(ctx); err != nil {
				return nil, err
			}
			return run(ctx, p.(job).Name)
		}
	}
	return d
}

type rig struct {
	t        *testing.T
	redis    *redistest.Server
	store    *record.Store
	watcher  *record.Watcher
	producer *broker.Producer
	asynq    *asynq.Inspector
	defs     map[string]worker.Definition
	ring     *seal.Ring
}

func newRig(t *testing.T, defs ...worker.Definition) *rig {
	t.Helper()
	server := redistest.New(t)
	rdb := server.Client()
	r := &rig{t: t, redis: server, store: record.New(rdb), asynq: asynq.NewInspectorFromRedisClient(rdb), defs: map[string]worker.Definition{}}
	r.watcher = record.NewWatcher(r.store)
	r.producer = broker.NewProducer(rdb, r.store, r.ring)
	for _, d := range defs {
		r.defs[d.Type] = d
	}
	return r
}

// define adds a task type before work begins.
func (r *rig) define(taskType string, policy broker.Policy, run handler) {
	r.defs[taskType] = define(taskType, policy, run)
}

// work starts a worker; the returned function stops it.
func (r *rig) work(change ...func(*worker.Config)) (stop func()) {
	r.t.Helper()
	return r.serve(change...).Shutdown
}

// serve starts a worker.
func (r *rig) serve(change ...func(*worker.Config)) *broker.Server {
	r.t.Helper()
	cfg := worker.Config{
		Redis: r.ownClient(), General: r.ownClient(), Queues: map[string]int{"otp": 10},
		Owner: "w-" + r.t.Name(), Timeout: func(string) time.Duration { return 5 * time.Second }, Grace: 10 * time.Second,
		Metrics: worker.NewMetrics(prometheus.NewRegistry()), Log: zerolog.New(io.Discard),
		Intervals: func(string) (poll, delay time.Duration) { return 25 * time.Millisecond, 250 * time.Millisecond },
	}
	for _, d := range r.defs {
		cfg.Definitions = append(cfg.Definitions, d)
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := worker.NewServer(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		s.Shutdown()
		r.check()
	})
	return s
}

func (r *rig) enqueue(taskType string, change ...func(*broker.Job)) broker.Ticket {
	r.t.Helper()
	j := broker.Job{Type: taskType, Payload: []byte(`{"name":"` + taskType + `"}`), Policy: broker.Policy{Queue: "otp", Budget: time.Minute}}
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

func (r *rig) wait(id string) *record.Record {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testwait.Limit)
	defer cancel()
	got, err := r.watcher.Wait(ctx, id)
	if err != nil {
		r.t.Fatalf("wait for %s: %v (%+v)", id, err, got)
	}
	return got
}

// asynqState waits until asynq's own state of the task is no longer active: it
// follows the record's.
func (r *rig) asynqState(id string) asynq.TaskState {
	r.t.Helper()
	for deadline := time.Now().Add(testwait.Limit); ; {
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

// check fails the test if a record disagrees with asynq's queue.
func (r *rig) check() {
	r.t.Helper()
	found, err := broker.Check(context.WithoutCancel(r.t.Context()), r.redis.Client(), "otp")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, problem := range found {
		r.t.Error("record and queue disagree: " + problem)
	}
}

// ownClient is a client that no other worker has left hooks on.
func (r *rig) ownClient() *redis.Client {
	own := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	r.t.Cleanup(func() { _ = own.Close() })
	return own
}

func client(r *rig) *redis.Client { return r.redis.Client() }

// deadWorker is a worker that has died: it gives no heartbeat, and what it takes it
// keeps.
func (r *rig) deadWorker(owner string) *broker.Server {
	r.t.Helper()
	own := r.ownClient()
	s, err := broker.NewServer(broker.Config{
		Redis:   own,
		General: own,
		Queues:  map[string]int{"otp": 1},
		Owner:   owner,
		Hold:    time.Minute,
		Log:     zerolog.New(io.Discard),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// takeAway has a worker take the queue's next task, which is id, and die. started says
// that it was calling the vendor.
func (r *rig) takeAway(id, owner string, started bool) *broker.Claim {
	r.t.Helper()
	claims, err := r.deadWorker(owner).Take(r.t.Context(), "otp", 1)
	if err != nil || claims[0].ID != id {
		r.t.Fatalf("took %v, %v, want %s", claims, err, id)
	}
	if started {
		if err := claims[0].Start(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	return claims[0]
}

// crash has n workers, one after the other, die during their call of the queue's next
// task.
func (r *rig) crash(id string, n int) {
	r.t.Helper()
	for i := range n {
		owner := fmt.Sprint("dead-", i)
		r.takeAway(id, owner, true)
		if moved, err := r.deadWorker("judge").Requeue(r.t.Context(), "otp", id, owner, true); err != nil || !moved {
			r.t.Fatalf("requeued %v, %v", moved, err)
		}
	}
}
