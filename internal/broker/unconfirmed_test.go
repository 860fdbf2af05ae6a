package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
)

// unconfirmed are the audited tasks that nothing has confirmed.
func (r *rig) unconfirmed() map[string]bool {
	r.t.Helper()
	open := map[string]bool{}
	err := r.store.EachUnconfirmed(r.t.Context(), queue, time.Now().Add(time.Hour), func(id string, _ time.Time) error {
		open[id] = true
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return open
}

// leaver enqueues an inactivation.
func leaver(subject string) func(*broker.Job) {
	return func(j *broker.Job) {
		j.Policy.AuditSubject = subject
		j.Policy.Intent = broker.Intent{Subject: subject, Role: broker.Closes}
	}
}

// A failed inactivation stays unconfirmed until a later one of the same user is done.
func TestALaterSuccessConfirms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	failed := r.enqueue(leaver("u1")).ID
	r.end(r.take(), ended(record.Failed))
	other := r.enqueue(leaver("u2")).ID
	r.end(r.take(), ended(record.Failed))
	if open := r.unconfirmed(); !open[failed] || !open[other] {
		t.Fatalf("unconfirmed: %v", open)
	}
	later := r.enqueue(leaver("u1"), func(j *broker.Job) { j.In = time.Minute }).ID
	r.enqueue(leaver("u1"))
	r.end(r.take(), ended(record.Done))
	if open := r.unconfirmed(); open[failed] || !open[other] || !open[later] || len(open) != 2 {
		t.Errorf("unconfirmed: %v, want the other user's, and the one that has not run yet", open)
	}
	r.check()
}

// However many stay open, each is announced at each age, once, however many workers there
// are and however often they restart; the last time it is taken off.
func TestEveryUnconfirmedTaskIsAnnounced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard := map[string]int{}
	cfg := r.config("w")
	cfg.Alert = func(a alert.Alert) { heard[a.Subject+" "+a.Data["age"]]++ }
	s := r.newServer(cfg)
	const many = 1700 // more than a few pages
	due := func(age time.Duration) float64 { return float64(r.now().Add(-age).UnixMilli()) }
	var open []redis.Z
	for n := range many {
		open = append(open, redis.Z{Score: due(2 * time.Hour), Member: fmt.Sprint(queue, "_t", n)})
	}
	open = append(open, redis.Z{Score: due(31 * 24 * time.Hour), Member: queue + "_aged"})
	if err := r.rdb.ZAdd(t.Context(), "errand:{"+queue+"}:audit:open", open...).Err(); err != nil {
		t.Fatal(err)
	}
	again := r.config("restarted")
	again.Alert = cfg.Alert
	for _, s := range []*broker.Server{s, s, r.newServer(again)} {
		if err := s.AnnounceUnconfirmed(t.Context(), queue); err != nil {
			t.Fatal(err)
		}
	}
	if len(heard) != many+3 {
		t.Errorf("%d announcements, want one for each task, and three for the aged one", len(heard))
	}
	for what, n := range heard {
		if n != 1 {
			t.Errorf("%s was announced %d times", what, n)
		}
	}
	if left := r.unconfirmed(); len(left) != many || left[queue+"_aged"] {
		t.Errorf("%d stay unconfirmed", len(left))
	}
	kept, err := r.store.Announced(t.Context(), queue)
	if err != nil || len(kept) != many || kept[queue+"_t0"] != time.Hour {
		t.Errorf("the ages of %d tasks are kept (%v), want those of the unconfirmed ones", len(kept), err)
	}
}

// The ends that nobody publishes do not stay for ever.
func TestTheOutboxIsTrimmed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue(notified)
	r.end(r.take(), ended(record.Done))
	r.leaveUnpublished("otp_old")
	if err := r.server("w").TrimOutbox(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	left, err := r.store.PendingOutbox(t.Context(), queue, 10)
	if err != nil || len(left) != 1 || left[0].ID == "otp_old" {
		t.Errorf("left: %+v, %v", left, err)
	}
}

func notified(j *broker.Job) { j.Notify = true }

// leaveUnpublished has the outbox keep the end of a task for longer than it should.
func (r *rig) leaveUnpublished(id string) {
	r.t.Helper()
	ended := r.now().Add(-25 * time.Hour).UnixMilli()
	entry := fmt.Sprintf(`{"type":"t","outcome":"done","ended":%d,"tell":"finished"}`, ended)
	if err := r.rdb.HSet(r.t.Context(), outbox, id, entry).Err(); err != nil {
		r.t.Fatal(err)
	}
}

const outbox = "errand:{otp}:outbox"

// Where nobody publishes, the outbox is full one day; tasks end all the same.
func TestTheOutboxHasABound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const most = 100_000
	pipe := r.rdb.Pipeline()
	for i := 0; i < most-1; {
		var entries []any
		for ; len(entries) < 2000 && i < most-1; i++ {
			entries = append(entries, fmt.Sprint("otp_", i), "{}")
		}
		pipe.HSet(t.Context(), outbox, entries...)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := func(outcome record.Outcome) func() string {
		return func() string {
			id := r.enqueue(notified).ID
			result := ended(outcome)
			result.Tell = outcome.Archived()
			r.end(r.take(), result)
			return id
		}
	}
	for _, tc := range []struct {
		name string
		end  func() string
		kept bool
	}{
		{"the last that it takes", end(record.Done), true},
		{"one too many", end(record.Done), false},
		{"a dead letter too many", end(record.Failed), false},
		{"a cancelled one too many", func() string {
			id := r.enqueue(notified).ID
			if err := r.producer.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			return id
		}, false},
	} {
		id := tc.end()
		if got := r.get(id); got.State != record.Ended {
			t.Errorf("%s: the task is %s", tc.name, got.State)
		}
		if kept := r.rdb.HExists(t.Context(), outbox, id).Val(); kept != tc.kept {
			t.Errorf("%s: in the outbox: %v", tc.name, kept)
		}
		if n := r.rdb.HLen(t.Context(), outbox).Val(); n != most {
			t.Errorf("%s: the outbox has %d entries, want %d", tc.name, n, most)
		}
	}
	r.check()
}

// What nobody else brings about, each worker does for its queues now and then.
func TestAWorkerLooksAfterItsQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deleted := r.enqueue(func(j *broker.Job) { j.In = time.Hour }).ID
	if err := r.asynq.DeleteTask(queue, deleted); err != nil {
		t.Fatal(err)
	}
	r.leaveUnpublished("otp_old")
	since := redis.Z{Score: float64(r.now().Add(-2 * time.Hour).UnixMilli()), Member: "otp_leaver"}
	if err := r.rdb.ZAdd(t.Context(), "errand:{otp}:audit:open", since).Err(); err != nil {
		t.Fatal(err)
	}
	heard := make(chan alert.Alert, 10)
	r.running("w1", func(c *broker.Config) { c.Alert = func(a alert.Alert) { heard <- a } })
	registered := func() bool { return r.rdb.SIsMember(t.Context(), "asynq:queues", queue).Val() }
	testwait.Eventually(t, testwait.Limit, "the worker has registered its queue", registered)
	r.do("DEL", "asynq:queues")
	const soon = time.Minute // it does so every 30 s
	testwait.Eventually(t, soon, "the queue is registered once more", registered)
	testwait.Eventually(t, soon, "the task that a foreign tool has deleted ends", func() bool {
		return r.get(deleted).Outcome == record.Cancelled
	})
	testwait.Eventually(t, soon, "what nobody has published is gone", func() bool {
		return !r.rdb.HExists(t.Context(), outbox, "otp_old").Val()
	})
	select {
	case a := <-heard:
		if a.Kind != alert.TaskUnconfirmed || a.Subject != "otp_leaver" {
			t.Errorf("heard %+v", a)
		}
	case <-time.After(soon):
		t.Error("the unconfirmed task is not announced")
	}
}
