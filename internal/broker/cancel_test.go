package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

func TestCancel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cancel := func(id string) error { return r.producer.Cancel(t.Context(), id) }
	gone := func(id string) {
		t.Helper()
		if err := cancel(id); err != nil {
			t.Fatal(err)
		}
		if got := r.get(id); got.State != record.Ended || got.Outcome != record.Cancelled || got.Ended.IsZero() {
			t.Errorf("record = %+v", got)
		}
		if says := r.asynqSays(id); says != "nothing" {
			t.Errorf("asynq still says %s", says)
		}
		if left := r.rdb.PTTL(t.Context(), record.Key(queue, id)).Val(); left <= 59*time.Minute || left > time.Hour {
			t.Errorf("the record is kept for %v, want its retention", left)
		}
		r.takeNothing()
		r.check()
		if err := cancel(id); err != nil {
			t.Errorf("cancelled again: %v", err)
		}
	}
	refused := func(id, state string) {
		t.Helper()
		if started, ok := errors.AsType[*record.StartedError](cancel(id)); !ok || started.State != state {
			t.Errorf("Cancel of a %s task = %v", state, started)
		}
		r.check()
	}
	fresh := r.enqueue(keyed("c"))
	gone(fresh.ID)
	if got := r.enqueue(keyed("c")); got.Duplicate {
		t.Error("a cancelled task must free its key")
	} else {
		gone(got.ID)
	}
	gone(r.enqueue(func(j *broker.Job) { j.In = time.Hour }).ID)

	tried := r.enqueue().ID
	c := r.start()
	refused(tried, "running")
	r.end(c, again(time.Hour))
	refused(tried, "retrying")
	r.forward("retry")
	r.end(r.start(), ended(record.Done))
	refused(tried, "done")

	// A parked task was never attempted.
	waits := r.enqueue().ID
	r.end(r.take(), parked("cred", time.Hour))
	gone(waits)
	if n := r.rdb.SCard(t.Context(), "errand:{otp}:parked:cred").Val(); n != 0 {
		t.Errorf("%d are still to be woken", n)
	}
	// One whose worker died may have been, though nobody has noted it.
	crashed := r.enqueue(redelivered(broker.AtLeastOnce)).ID
	r.start()
	r.requeue(crashed, "w1", true)
	refused(crashed, "pending")

	if err := cancel("otp_nosuchtask"); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("no such task: %v", err)
	}
	if err := cancel("rubbish"); !errors.Is(err, record.ErrBadID) {
		t.Errorf("no ID: %v", err)
	}
}

// What a cancelled task held is free, and what listens hears of it.
func TestCancelFreesAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue(intent(broker.Closes), func(j *broker.Job) {
		j.Notify, j.UniqueWhileActive, j.Policy.AuditSubject = true, "u1", "u1"
	}).ID
	if err := r.producer.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.check()
	if open := r.unconfirmed(); len(open) != 0 {
		t.Errorf("unconfirmed: %v", open)
	}
	var events []string
	if err := r.store.EachAuditEntry(t.Context(), queue, func(e record.AuditEntry) error {
		events = append(events, e.Event+string(e.Outcome))
		return nil
	}); err != nil || len(events) != 2 || events[1] != "endedcancelled" {
		t.Errorf("audit = %v, %v", events, err)
	}
	for _, key := range r.rdb.Keys(t.Context(), "errand:{otp}:alone:*").Val() {
		t.Errorf("%s is still there", key)
	}
}

// asynq's unique lock of an adopted task goes with the task, as when asynq deletes it.
func TestCancelFreesAsynqsUniqueLock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	plain := asynq.NewClientFromRedisClient(r.rdb)
	task := asynq.NewTask("a:b", []byte(`{"x":1}`))
	if _, err := plain.Enqueue(task, asynq.Queue(queue), asynq.TaskID("otp_plain"), asynq.Unique(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := r.take().Adopt(sample().Policy, false); err != nil {
		t.Fatal(err)
	}
	if err := r.producer.Cancel(t.Context(), "otp_plain"); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Enqueue(task, asynq.Queue(queue), asynq.TaskID("otp_second"), asynq.Unique(time.Hour)); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
