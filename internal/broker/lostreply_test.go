package broker_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// repeat sends every script twice, as go-redis does when a reply was lost, and counts
// the scripts.
type repeat struct {
	mu     sync.Mutex
	counts map[string]int
}

func (*repeat) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*repeat) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *repeat) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		h.note(cmd)
		if err := next(ctx, cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (h *repeat) note(cmd redis.Cmder) {
	digest, _ := cmd.Args()[1].(string)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts == nil {
		h.counts = map[string]int{}
	}
	h.counts[broker.StepOf(digest)]++
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hook := &repeat{}
	r.producer = r.newProducer(hook)
	for _, owner := range []string{"w1", "w2", "judge"} {
		r.servers[owner] = r.newServer(r.config(owner, hook))
	}
	same := func(change ...func(*broker.Job)) broker.Ticket {
		t.Helper()
		ticket := r.enqueue(change...)
		if ticket.Duplicate || r.asynqSays(ticket.ID) == "nothing" {
			t.Errorf("it took its own first try for another's: %+v", ticket)
		}
		r.check()
		return ticket
	}
	// Enqueue, take, start and end.
	id := same(keyed("once"), intent(broker.Closes), redelivered(broker.Reconciled), func(j *broker.Job) {
		j.Notify, j.UniqueWhileActive, j.Policy.AuditSubject = true, "u1", "u1"
	}).ID
	c := r.start()
	if c.ID != id || c.Verdict != broker.Run {
		t.Fatalf("took %+v", c)
	}
	r.check()
	r.takeNothing()
	r.end(c, again(0))
	r.check()
	r.forward("retry")
	// A crash counts once, and its doubt stays.
	r.start()
	r.requeueTwice(id)
	c = r.start()
	if c.Attempts != 1 || !c.InDoubt || c.Verdict != broker.Run {
		t.Errorf("claim = %+v", c)
	}
	if got := r.field(id, "crashes"); got != "1" {
		t.Errorf("%s crashes", got)
	}
	done := ended(record.Done)
	done.Data = []byte("x")
	r.end(c, done)
	r.check()
	if got := r.get(id); got.Attempts != 2 || got.Outcome != record.Done || string(got.Data) != "x" {
		t.Errorf("record = %+v", got)
	}
	r.once("asked", "attempt", "ended")
	r.counted("processed", 1)

	// The verdict about a call that may not be repeated stays.
	id = same().ID
	r.start()
	r.requeueTwice(id)
	if c = r.take(); c.Verdict != broker.Abandoned {
		t.Errorf("verdict %s", c.Verdict)
	}
	r.end(c, ended(record.Unknown))
	r.counted("failed", 1)
	if n, err := r.store.DeadLetters(t.Context(), queue); n != 1 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}

	// Adopt, park and wake.
	if _, err := asynq.NewClientFromRedisClient(r.rdb).Enqueue(asynq.NewTask("a:b", nil), asynq.Queue(queue), asynq.TaskID("otp_plain")); err != nil {
		t.Fatal(err)
	}
	if c = r.take(); c.Verdict != broker.Unrecorded {
		t.Errorf("verdict %s", c.Verdict)
	}
	if err := c.Adopt(sample().Policy, false); err != nil {
		t.Errorf("adopted: %v", err)
	}
	r.check()
	c = r.take()
	r.end(c, parked("cred", time.Hour))
	r.check()
	if _, err := r.server("w1").Wake(t.Context(), queue, "cred", 10); err != nil {
		t.Error(err)
	}
	r.check()
	if c = r.take(); c.ID != "otp_plain" {
		t.Errorf("woke %s", c.ID)
	}
	r.end(c, ended(record.Done))

	// Schedule, cancel, claim.
	id = same(func(j *broker.Job) { j.In = time.Hour }).ID
	if err := r.producer.Cancel(t.Context(), id); err != nil {
		t.Errorf("cancel: %v", err)
	}
	same()
	before := r.snapshot()
	c = r.start()
	r.forget(before)
	if err := r.server("w1").Reclaim(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r.check()
	r.end(c, ended(record.Done))
	r.check()
	for _, step := range []string{"enqueue", "take", "start", "end", "requeue", "adopt", "wake", "cancel", "claim"} {
		if hook.counts[step] == 0 {
			t.Errorf("the step %s was not sent twice", step)
		}
	}
}

// requeueTwice has a judge put a task back whose worker died; the reply says nothing,
// because it is that of the second time.
func (r *rig) requeueTwice(id string) {
	r.t.Helper()
	if _, err := r.server("judge").Requeue(r.t.Context(), queue, id, "w1", true); err != nil {
		r.t.Fatal(err)
	}
	r.check()
	if n := r.rdb.LLen(r.t.Context(), "asynq:{otp}:pending").Val(); n != 1 {
		r.t.Errorf("%d tasks are pending, want one", n)
	}
}

// once fails the test unless the audit log has these events in this order.
func (r *rig) once(want ...string) {
	r.t.Helper()
	var events []string
	if err := r.store.EachAuditEntry(r.t.Context(), queue, func(e record.AuditEntry) error {
		events = append(events, e.Event)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	if strings.Join(events, " ") != strings.Join(want, " ") {
		r.t.Errorf("audit log = %v, want %v", events, want)
	}
}

// counted fails the test unless asynq's statistics say n.
func (r *rig) counted(name string, n int64) {
	r.t.Helper()
	for _, key := range []string{name, name + ":" + time.Now().UTC().Format(time.DateOnly)} {
		if got, err := r.rdb.Get(r.t.Context(), "asynq:{otp}:"+key).Int64(); err != nil || got != n {
			r.t.Errorf("%s is %d, %v; want %d", key, got, err, n)
		}
	}
}

// A take whose reply was lost gives the same claims, with all that they say; another
// question gives other tasks.
func TestATakeThatIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 3 {
		r.enqueue()
	}
	opening := r.enqueue(intent(broker.Opens))
	s := r.server("w1")
	first, err := s.TakeAgain(t.Context(), queue, 4, "nonce-1")
	if err != nil || len(first) != 4 {
		t.Fatalf("took %v, %v", first, err)
	}
	r.enqueue()
	again, err := s.TakeAgain(t.Context(), queue, 4, "nonce-1")
	if err != nil || len(again) != 4 {
		t.Fatalf("asked again: %v, %v", again, err)
	}
	for i, c := range again {
		if f := first[i]; c.ID != f.ID || c.Verdict != f.Verdict || !c.Expires.Equal(f.Expires) || string(c.Payload) != string(f.Payload) {
			t.Errorf("%+v, the first time %+v", c, f)
		}
	}
	if err := again[3].Start(t.Context()); err != nil || again[3].ID != opening.ID {
		t.Errorf("%s, %v", again[3].ID, err)
	}
	if err := first[0].End(ended(record.Done)); err != nil {
		t.Error(err)
	}
	if again, err = s.TakeAgain(t.Context(), queue, 4, "nonce-1"); err != nil || len(again) != 3 {
		t.Errorf("after one has ended: %d claims, %v", len(again), err)
	}
	if other, err := s.TakeAgain(t.Context(), queue, 4, "nonce-2"); err != nil || len(other) != 1 {
		t.Errorf("another question: %v, %v", other, err)
	}
	r.check()
}
