package broker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
	"errand.internal/internal/testwait"
)

// theKey returns the only producer's key in Redis.
func (r *rig) theKey() string {
	r.t.Helper()
	keys := r.rdb.Keys(r.t.Context(), "errand:{otp}:key:*").Val()
	if len(keys) != 1 {
		r.t.Fatalf("keys = %v, want one", keys)
	}
	return keys[0]
}

func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.enqueue(keyed("login-42"))
	second := r.enqueue(keyed("login-42"))
	if !second.Duplicate || second.ID != first.ID || second.Outcome != "" || !second.Due.Equal(first.Due) {
		t.Errorf("second = %+v, want a duplicate of %+v", second, first)
	}
	// Another process has a salt of its own to begin with.
	third, err := r.newProducer().Enqueue(t.Context(), sample(keyed("login-42")))
	if err != nil || third.ID != first.ID || !third.Duplicate {
		t.Errorf("another process got %+v, %v; want %s", third, err, first.ID)
	}
	changed := sample(keyed("login-42"))
	changed.Payload = []byte(`{"x":2}`)
	if got, err := r.producer.Enqueue(t.Context(), changed); !errors.Is(err, record.ErrKeyConflict) || got.ID != first.ID {
		t.Errorf("another payload: %+v, %v, want ErrKeyConflict", got, err)
	}
	if got := r.enqueue(keyed("login-42"), func(j *broker.Job) { j.Type = "a:c" }); got.Duplicate || got.ID == first.ID {
		t.Error("another type with the same key is not another task")
	}
	if got := r.enqueue(keyed("login-43")); got.Duplicate {
		t.Error("another key is not another task")
	}
	r.start()
	if got := r.enqueue(keyed("login-42")); !got.Duplicate || got.ID != first.ID {
		t.Errorf("while it runs: %+v", got)
	}
	r.check()
}

func TestKeyAfterTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for outcome, free := range map[record.Outcome]bool{
		record.Done: false, record.Declined: false, record.Superseded: false, record.Unknown: false,
		record.Failed: true, record.Invalid: true, record.Expired: true,
	} {
		first := r.enqueue(keyed("k-" + string(outcome)))
		r.end(r.take(), ended(outcome))
		r.check()
		got := r.enqueue(keyed("k-" + string(outcome)))
		if got.Duplicate == free || (got.ID == first.ID) == free {
			t.Fatalf("after %s: %+v, the first was %s", outcome, got, first.ID)
		}
		if free {
			r.end(r.take(), ended(record.Done))
			continue
		}
		if got.Outcome != outcome {
			t.Errorf("after %s the duplicate's outcome is %q", outcome, got.Outcome)
		}
		// The key outlives the record, and still tells the outcome.
		r.rdb.Del(t.Context(), record.Key(queue, first.ID))
		if err := r.asynq.DeleteTask(queue, first.ID); err != nil {
			t.Fatal(err)
		}
		if got = r.enqueue(keyed("k-" + string(outcome))); got.ID != first.ID || got.Outcome != outcome {
			t.Errorf("after %s, with the record gone: %+v", outcome, got)
		}
	}
}

// A held key outlives an end that would free it: who asks again asks for the same task.
func TestAHeldKeyIsNotFreed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, outcome := range []record.Outcome{record.Failed, record.Invalid, record.Expired, record.Done} {
		first := r.enqueue(keyed("k-" + string(outcome)))
		result := ended(outcome)
		result.HoldKey = true
		r.end(r.take(), result)
		if got := r.enqueue(keyed("k-" + string(outcome))); !got.Duplicate || got.ID != first.ID || got.Outcome != outcome {
			t.Errorf("after %s: %+v", outcome, got)
		}
	}
	r.check()
}

// A key lives its promised time from the end of its task, however long that took.
func TestAKeyLivesFromTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue(keyed("k"))
	key := r.theKey()
	for _, during := range []string{"pending", "active"} {
		if ttl := r.rdb.PTTL(t.Context(), key).Val(); ttl != -1 {
			t.Errorf("while the task is %s its key expires in %v", during, ttl)
		}
		if during == "pending" {
			r.start()
		}
	}
	r.end(r.crash("w1"), again(time.Hour))
	if ttl := r.rdb.PTTL(t.Context(), key).Val(); ttl != -1 {
		t.Errorf("between attempts the key expires in %v", ttl)
	}
	r.forward("retry")
	r.end(r.take(), ended(record.Done))
	if left := r.rdb.PTTL(t.Context(), key).Val(); left <= 2*time.Hour-time.Minute || left > 2*time.Hour {
		t.Errorf("the key lives for %s, want two hours", left)
	}
}

func TestParallelProducersShareOneTask(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var mu sync.Mutex
	ids, fresh := map[string]bool{}, 0
	var all sync.WaitGroup
	for range 4 {
		producer := r.newProducer() // each with a salt of its own
		for range 5 {
			all.Go(func() {
				got, err := producer.Enqueue(context.Background(), sample(keyed("one")))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				ids[got.ID] = true
				if !got.Duplicate {
					fresh++
				}
			})
		}
	}
	all.Wait()
	if len(ids) != 1 || fresh != 1 {
		t.Errorf("%d tasks, %d of them new; want one", len(ids), fresh)
	}
	if n := r.rdb.LLen(t.Context(), "asynq:{otp}:pending").Val(); n != 1 {
		t.Errorf("%d tasks are pending", n)
	}
	r.check()
}

func TestNothingPersonalInRedis(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.client()
	ring := testRing(t)
	producer := broker.NewProducer(c, record.New(c), ring)
	job := sample(keyed("canary-key-ana@example.com"))
	job.Payload = []byte(`{"mail":"canary-payload"}`)
	job.UniqueWhileActive = "canary-alone"
	job.Policy.AuditSubject = "canary-audit"
	job.Policy.Intent = broker.Intent{Subject: "canary-intent", Role: broker.Opens}
	ticket, err := producer.Enqueue(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	r.clean()
	claim := r.start()
	if plain, err := broker.OpenPayload(ring, claim); err != nil || string(plain) != string(job.Payload) {
		t.Errorf("payload %s, %v", plain, err)
	}
	r.clean()
	result := ended(record.Done)
	result.Data = broker.SealResult(ring, claim.Type, claim.ID, []byte(`"canary-result"`))
	r.end(claim, result)
	r.clean()
	if data, err := broker.OpenResult(ring, r.get(ticket.ID)); err != nil || string(data) != `"canary-result"` {
		t.Errorf("result %s, %v", data, err)
	}
}

// clean fails the test if anything in Redis shows what it should hide.
func (r *rig) clean() {
	r.t.Helper()
	keys := r.rdb.Keys(r.t.Context(), "*").Val()
	if len(keys) < 6 {
		r.t.Errorf("only the keys %v", keys)
	}
	for _, key := range keys {
		for _, text := range append(r.contents(key), key) {
			if strings.Contains(text, "canary") || strings.Contains(text, "ana@") {
				r.t.Errorf("%s shows what it should hide: %s", key, text)
			}
		}
	}
}

// contents are all texts in a key.
func (r *rig) contents(key string) (texts []string) {
	r.t.Helper()
	ctx := r.t.Context()
	switch kind := r.rdb.Type(ctx, key).Val(); kind {
	case "string":
		return []string{r.rdb.Get(ctx, key).Val()}
	case "list":
		return r.rdb.LRange(ctx, key, 0, -1).Val()
	case "set":
		return r.rdb.SMembers(ctx, key).Val()
	case "zset":
		return r.rdb.ZRange(ctx, key, 0, -1).Val()
	case "hash":
		for name, value := range r.rdb.HGetAll(ctx, key).Val() {
			texts = append(texts, name, value)
		}
	case "stream":
		for _, e := range r.rdb.XRange(ctx, key, "-", "+").Val() {
			for name, value := range e.Values {
				texts = append(texts, name, value.(string))
			}
		}
	default:
		r.t.Fatalf("%s is a %s", key, kind)
	}
	return texts
}

func TestUniqueWhileActive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	alone := func(subject string) func(*broker.Job) {
		return func(j *broker.Job) { j.UniqueWhileActive, j.Notify = subject, true }
	}
	first := r.enqueue(alone("poll/u1"))
	if got, err := r.producer.Enqueue(t.Context(), sample(alone("poll/u1"))); !errors.Is(err, record.ErrAlreadyActive) || got.ID != first.ID {
		t.Errorf("while the first is under way: %+v, %v, want ErrAlreadyActive", got, err)
	}
	r.enqueue(alone("poll/u1"), func(j *broker.Job) { j.Type = "a:c" })
	second := r.enqueue(alone("poll/u2"))
	r.check()
	r.end(r.take(), ended(record.Failed))
	r.enqueue(alone("poll/u1"))
	r.check()
	entries, err := r.store.PendingOutbox(t.Context(), queue, 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("outbox = %v, %v", entries, err)
	}
	if e := entries[0]; e.ID != first.ID || e.Type != "a:b" || e.Outcome != record.Failed || e.Attempts != 1 || e.Ended.IsZero() || !e.Finished || e.Dead {
		t.Errorf("outbox entry = %+v", e)
	}
	if err := r.store.DeleteOutbox(t.Context(), queue, first.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.producer.Cancel(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	r.enqueue(alone("poll/u2"))
	entries, err = r.store.PendingOutbox(t.Context(), queue, 10)
	if err != nil || len(entries) != 1 || entries[0].ID != second.ID || entries[0].Outcome != record.Cancelled || !entries[0].Finished {
		t.Errorf("after a cancel: %+v, %v", entries, err)
	}
	r.check()
}

// One that a foreign tool has deleted, and which therefore never ends, does not keep
// the next one away.
func TestADeletedTaskKeepsNobodyAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	alone := func(j *broker.Job) { j.UniqueWhileActive = "poll/u1" }
	first := r.enqueue(alone)
	if err := r.asynq.DeleteTask(queue, first.ID); err != nil {
		t.Fatal(err)
	}
	if second := r.enqueue(alone); second.ID == first.ID {
		t.Errorf("second = %+v", second)
	}
}

func TestTooLateToEnqueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now := r.now()
	before := func(at time.Time) func(*broker.Job) { return func(j *broker.Job) { j.EnqueueBefore = at } }
	first := r.enqueue(keyed("k"), before(now.Add(time.Minute)))
	if got := r.enqueue(keyed("k"), before(now.Add(-time.Millisecond))); got.ID != first.ID || !got.Duplicate {
		t.Errorf("what was stored in time: %+v", got)
	}
	if got, err := r.producer.Enqueue(t.Context(), sample(keyed("other"), before(now.Add(-time.Millisecond)))); !errors.Is(err, record.ErrLate) {
		t.Errorf("late: %+v, %v", got, err)
	}
	if left := r.rdb.Keys(t.Context(), "errand:{otp}:task:*").Val(); len(left) != 1 {
		t.Errorf("records: %v", left)
	}
	r.theKey()
	r.check()
}

// Once the workers of a queue demand encryption, a producer without keys is refused
// before it writes anything, also one that has been at work since before.
func TestProducersWithoutKeysAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, _, _ := r.running("w1", func(c *broker.Config) { c.Sealed = true })
	testwait.Eventually(t, testwait.Limit, "the workers demand it", func() bool {
		return r.rdb.Exists(t.Context(), record.SealedKey(queue)).Val() == 1
	})
	s.Shutdown()
	before := r.snapshot()
	job := broker.Job{Type: "t", Payload: []byte("{}"), Policy: broker.Policy{Queue: queue}, Key: "k"}
	for name, producer := range map[string]*broker.Producer{"old": r.producer, "new": r.newProducer()} {
		if _, err := producer.Enqueue(t.Context(), job); !errors.Is(err, broker.ErrKeysRequired) {
			t.Errorf("the %s producer: %v", name, err)
		}
	}
	after := r.snapshot()
	for key := range after {
		if after[key].dump != before[key].dump {
			t.Errorf("%s was written", key)
		}
	}
	ring, err := seal.Parse("k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	if err != nil {
		t.Fatal(err)
	}
	c := r.client()
	if _, err := broker.NewProducer(c, record.New(c), ring).Enqueue(t.Context(), job); err != nil {
		t.Errorf("a producer with keys: %v", err)
	}
}
