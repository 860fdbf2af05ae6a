package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// plain enqueues a task as a program does that knows only asynq, which chooses an ID
// that does not name the queue.
func (r *rig) plain(options ...asynq.Option) string {
	r.t.Helper()
	r.rdb.SAdd(r.t.Context(), record.QueuesKey, "anna", "polls") // other queues, of which none has it
	options = append(options, asynq.Queue(queue))
	info, err := asynq.NewClientFromRedisClient(r.client()).Enqueue(asynq.NewTask("a:b", []byte(`{}`)), options...)
	if err != nil {
		r.t.Fatal(err)
	}
	if named, err := record.QueueOf(info.ID); err == nil && named == queue {
		r.t.Fatalf("%s names the queue", info.ID)
	}
	return info.ID
}

// A task of a plain asynq client has no record until a worker takes it. It can be
// cancelled all the same, and its end is recorded.
func TestAPlainClientsTaskIsCancelled(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options []asynq.Option
		state   record.State
	}{
		"pending":                    {options: []asynq.Option{asynq.Unique(time.Hour)}, state: record.Pending},
		"scheduled":                  {options: []asynq.Option{asynq.ProcessIn(time.Hour)}, state: record.Scheduled},
		"an ID that looks like ours": {options: []asynq.Option{asynq.TaskID("my_task7")}, state: record.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.plain(tc.options...)
			got, err := r.producer.Unrecorded(t.Context(), id)
			if err != nil || got.State != tc.state || got.Type != "a:b" || got.Queue != queue || got.Due.IsZero() {
				t.Errorf("Unrecorded = %+v, %v", got, err)
			}
			for range 2 { // a second time it is cancelled already
				if err := r.producer.Cancel(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				r.check()
			}
			if got := r.get(id); got.Outcome != record.Cancelled || got.Type != "a:b" || got.State != record.Ended {
				t.Errorf("record = %+v", got)
			}
			if says := r.asynqSays(id); says != "nothing" {
				t.Errorf("asynq still says %s", says)
			}
			if locks := r.rdb.Keys(t.Context(), "asynq:{otp}:unique:*").Val(); len(locks) > 0 {
				t.Errorf("the unique lock is still taken: %v", locks)
			}
			r.takeNothing()
		})
	}
}

// Once a worker has taken it, it is found like any other, and can no longer be cancelled
// once it was attempted.
func TestAPlainClientsTaskIsFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.plain()
	c := r.take()
	if c.Verdict != broker.Unrecorded {
		t.Fatalf("claim = %+v", c)
	}
	if started, ok := errors.AsType[*record.StartedError](r.producer.Cancel(t.Context(), id)); !ok || started.State != "running" {
		t.Errorf("Cancel of a task that is being adopted = %v", started)
	}
	if err := c.Adopt(broker.Policy{Queue: queue, Budget: time.Minute}, false); err != nil {
		t.Fatal(err)
	}
	if got := r.get(id); got.State != record.Pending || got.Type != "a:b" {
		t.Errorf("record = %+v", got)
	}
	c = r.start()
	r.end(c, ended(record.Done))
	if got, err := record.NewWatcher(r.store).Wait(t.Context(), id); err != nil || got.Outcome != record.Done {
		t.Errorf("Wait = %+v, %v", got, err)
	}
	if started, ok := errors.AsType[*record.StartedError](r.producer.Cancel(t.Context(), id)); !ok || started.State != "done" {
		t.Errorf("Cancel of an ended task = %v", started)
	}
	r.check()
}

// An ID that no queue knows is none.
func TestAnIDThatNoQueueKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.plain()
	const id = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
	if _, err := r.store.Get(t.Context(), id); !errors.Is(err, record.ErrBadID) {
		t.Errorf("Get: %v", err)
	}
	if err := r.producer.Cancel(t.Context(), id); !errors.Is(err, record.ErrBadID) {
		t.Errorf("Cancel: %v", err)
	}
	if _, err := r.producer.Unrecorded(t.Context(), id); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("Unrecorded: %v", err)
	}
}
