package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
)

const queue = "otp"

// rig is a Redis with a producer and as many workers as a test takes for. The workers
// do not run: the test takes the tasks and settles the claims.
type rig struct {
	t        *testing.T
	redis    *redistest.Server
	rdb      *redis.Client // without hooks
	store    *record.Store
	producer *broker.Producer
	asynq    *asynq.Inspector
	servers  map[string]*broker.Server
}

func newRig(t *testing.T, opts ...redistest.Option) *rig {
	t.Helper()
	r := &rig{t: t, redis: redistest.New(t, opts...), servers: map[string]*broker.Server{}}
	r.rdb = r.redis.Client()
	r.store = record.New(r.rdb)
	r.asynq = asynq.NewInspectorFromRedisClient(r.rdb)
	r.producer = r.newProducer()
	return r
}

// client is a client that nobody else has left hooks on.
func (r *rig) client(hooks ...redis.Hook) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: r.redis.Addr(), DisableIdentity: true})
	r.t.Cleanup(func() { _ = c.Close() })
	for _, h := range hooks {
		c.AddHook(h)
	}
	return c
}

// newProducer is another process that enqueues.
func (r *rig) newProducer(hooks ...redis.Hook) *broker.Producer {
	c := r.client(hooks...)
	return broker.NewProducer(c, record.New(c), nil)
}

// config is that of a worker on clients of its own.
func (r *rig) config(owner string, hooks ...redis.Hook) broker.Config {
	return broker.Config{
		Redis:   r.client(hooks...),
		General: r.client(hooks...),
		Queues:  map[string]int{queue: 10},
		Owner:   owner,
		Hold:    time.Minute,
		Grace:   5 * time.Second,
		Log:     zerolog.Nop(),
	}
}

func (r *rig) newServer(cfg broker.Config) *broker.Server {
	r.t.Helper()
	s, err := broker.NewServer(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// server is the worker with a name, which is made at its first use.
func (r *rig) server(owner string) *broker.Server {
	r.t.Helper()
	if r.servers[owner] == nil {
		r.servers[owner] = r.newServer(r.config(owner))
	}
	return r.servers[owner]
}

func sample(change ...func(*broker.Job)) broker.Job {
	j := broker.Job{
		Type:    "a:b",
		Payload: []byte(`{"x":1}`),
		Policy:  broker.Policy{Queue: queue, Budget: time.Minute, Retention: time.Hour, KeyTTL: 2 * time.Hour},
	}
	for _, c := range change {
		c(&j)
	}
	return j
}

func keyed(key string) func(*broker.Job) { return func(j *broker.Job) { j.Key = key } }

func redelivered(d broker.Redelivery) func(*broker.Job) {
	return func(j *broker.Job) { j.Policy.Redelivery = d }
}

func (r *rig) enqueue(change ...func(*broker.Job)) broker.Ticket {
	r.t.Helper()
	ticket, err := r.producer.Enqueue(context.Background(), sample(change...))
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket
}

// take has the worker w1 take the queue's next task.
func (r *rig) take() *broker.Claim {
	r.t.Helper()
	return r.takeAs("w1")
}

func (r *rig) takeAs(owner string) *broker.Claim {
	r.t.Helper()
	claims, err := r.server(owner).Take(context.Background(), queue, 1)
	if err != nil || len(claims) != 1 {
		r.t.Fatalf("took %v, %v; want a task", claims, err)
	}
	return claims[0]
}

// takeNothing fails the test if the queue gives a task.
func (r *rig) takeNothing() {
	r.t.Helper()
	claims, err := r.server("w1").Take(context.Background(), queue, 1)
	if !errors.Is(err, redis.Nil) {
		r.t.Fatalf("took %v, %v; want none", claims, err)
	}
}

// start takes the queue's next task and starts its call.
func (r *rig) start() *broker.Claim {
	r.t.Helper()
	c := r.take()
	if err := c.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) end(c *broker.Claim, result broker.Result) {
	r.t.Helper()
	if err := c.End(result); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) get(id string) *record.Record {
	r.t.Helper()
	got, err := r.store.Get(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// field is one of the record's hash.
func (r *rig) field(id, name string) string {
	r.t.Helper()
	return r.rdb.HGet(context.Background(), record.Key(queue, id), name).Val()
}

// asynqSays returns asynq's state of a task, and the list that has it.
func (r *rig) asynqSays(id string) string {
	r.t.Helper()
	info, err := r.asynq.GetTaskInfo(queue, id)
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return "nothing"
	case err != nil:
		r.t.Fatal(err)
	}
	return info.State.String()
}

// check fails the test if a record disagrees with asynq's queue.
func (r *rig) check() {
	r.t.Helper()
	found, err := broker.Check(context.Background(), r.rdb, queue)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, problem := range found {
		r.t.Error("record and queue disagree: " + problem)
	}
}

// now is Redis' clock.
func (r *rig) now() time.Time {
	r.t.Helper()
	now, err := r.rdb.Time(context.Background()).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return now
}

// ended is the result of a call after which the task has ended.
func ended(o record.Outcome) broker.Result {
	return broker.Result{Outcome: o, Counted: true, Attempt: &record.Attempt{At: time.Now(), Class: string(o)}}
}

// again is the result of a call after which the task runs again.
func again(wait time.Duration) broker.Result {
	return broker.Result{
		Wait: wait, Counted: true, Code: "05", Message: "maintenance",
		Attempt: &record.Attempt{At: time.Now(), Took: 120 * time.Millisecond, Class: "temporary", Status: 200, Code: "05"},
	}
}

func parked(blocker string, wait time.Duration) broker.Result {
	return broker.Result{Parked: true, ParkedFor: blocker, Wait: wait, Message: "no login"}
}

// snapshot is a Redis at one moment, to which forget brings it back, as a failover does
// that loses the latest writes.
type snapshot map[string]struct {
	dump string
	ttl  time.Duration
}

func (r *rig) snapshot() snapshot {
	r.t.Helper()
	s := snapshot{}
	for _, key := range r.rdb.Keys(r.t.Context(), "*").Val() {
		entry := s[key]
		var err error
		if entry.dump, err = r.rdb.Dump(r.t.Context(), key).Result(); err != nil {
			r.t.Fatal(err)
		}
		entry.ttl = max(r.rdb.PTTL(r.t.Context(), key).Val(), 0)
		s[key] = entry
	}
	return s
}

func (r *rig) forget(s snapshot) {
	r.t.Helper()
	if err := r.rdb.FlushAll(r.t.Context()).Err(); err != nil {
		r.t.Fatal(err)
	}
	r.rdb.SAdd(r.t.Context(), "asynq:queues", queue) // as every worker does
	delete(s, "asynq:queues")
	for key, entry := range s {
		if err := r.rdb.Restore(r.t.Context(), key, entry.ttl, entry.dump).Err(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// commands counts Redis' calls of the given commands, outside of scripts and within.
func (r *rig) commands(names ...string) (n int64) {
	r.t.Helper()
	info, err := r.rdb.Info(r.t.Context(), "commandstats").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		if strings.Contains(info, "cmdstat_"+name+":") {
			n += statOf(r.t, info, "cmdstat_"+name+":calls=")
		}
	}
	return n
}

// statOf reads the number after a name in an INFO.
func statOf(t *testing.T, info, name string) (n int64) {
	t.Helper()
	_, rest, found := strings.Cut(info, name)
	if _, err := fmt.Sscan(strings.FieldsFunc(rest+" ", func(c rune) bool { return c < '0' || c > '9' })[0], &n); err != nil || !found {
		t.Fatalf("no %s in %s", name, info)
	}
	return n
}

// crash has the owner of the only active task die: a judge puts the task back, and w1
// takes it.
func (r *rig) crash(owner string) *broker.Claim {
	r.t.Helper()
	id := r.rdb.LIndex(r.t.Context(), "asynq:{otp}:active", 0).Val()
	if moved, err := r.server("judge").Requeue(r.t.Context(), queue, id, owner, true); err != nil || !moved {
		r.t.Fatalf("requeued %v, %v", moved, err)
	}
	return r.take()
}

// forward lets the time of the tasks of a set come: it makes them pending.
func (r *rig) forward(set string) {
	r.t.Helper()
	for _, id := range r.rdb.ZRange(r.t.Context(), "asynq:{otp}:"+set, 0, -1).Val() {
		if set == "retry" {
			r.rdb.HSet(r.t.Context(), record.Key(queue, id), "next", 1)
		} else {
			r.ask(id, func(a *record.Asked) { a.Due = a.Created })
		}
		if err := r.asynq.RunTask(queue, id); err != nil {
			r.t.Fatal(err)
		}
	}
}

// ask changes what was asked for.
func (r *rig) ask(id string, change func(a *record.Asked)) {
	r.t.Helper()
	a := record.DecodeAsked(r.field(id, "asked"))
	change(&a)
	r.rdb.HSet(r.t.Context(), record.Key(queue, id), "asked", a.Encode())
}

func testRing(t *testing.T) *seal.Ring {
	t.Helper()
	ring, err := seal.Parse("k1:" + strings.Repeat("A", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
