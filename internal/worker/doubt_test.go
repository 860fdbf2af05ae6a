package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
)

// findable is a create whose first call took effect: whoever looks, finds it.
func findable(creates *atomic.Int32) worker.Definition {
	d := define("t:create", broker.Policy{Redelivery: broker.Reconciled}, func(context.Context, string) (any, error) { creates.Add(1); return nil, nil })
	d.Reconcile = func(context.Context, worker.Payload) (any, bool, error) { return "found", true, nil }
	return d
}

// What may have happened and is not looked up any more ends unknown, however it
// comes to its end: another outcome would free the key for a second create.
func TestWhatIsInDoubtKeepsItsKey(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		crashes int
		change  func(*broker.Job)
		without bool // the worker does not know the type
		message string
	}{
		{name: "its worker died three times", crashes: 3, message: "died three times"},
		{name: "its time is up", crashes: 1, change: func(j *broker.Job) { j.ExpireAfter = time.Millisecond }, message: "the time budget is spent"},
		{name: "an older worker does not know the type until its time is up", crashes: 1, change: func(j *broker.Job) { j.ExpireAfter = time.Second }, without: true, message: "the time budget is spent"},
		{name: "an older worker cannot read the payload", crashes: 1, change: func(j *broker.Job) { j.Payload = []byte(`{"name":7}`) }, message: "the payload is wrong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var creates atomic.Int32
			r := newRig(t, findable(&creates))
			keyed := func(j *broker.Job) {
				j.Key = "invoice-1"
				if tc.change != nil {
					tc.change(j)
				}
			}
			first := r.enqueue("t:create", keyed)
			r.crash(first.ID, tc.crashes)
			// Whoever has it next gives it back, so that the doubt stands in the record
			// and not in a claim.
			if tc.crashes < 3 {
				r.giveBack(first.ID)
			}
			r.work(func(c *worker.Config) {
				if tc.without {
					c.Definitions = []worker.Definition{define("t:other", broker.Policy{}, nil)}
				}
			})
			if got := r.wait(first.ID); got.Outcome != record.Unknown || !strings.Contains(got.Message, "may have happened") || !strings.Contains(got.Message, tc.message) {
				t.Errorf("outcome %s, %q", got.Outcome, got.Message)
			}
			if again := r.enqueue("t:create", keyed); again.ID != first.ID || creates.Load() != 0 {
				t.Errorf("the key was freed (%v), %d creates", again.ID != first.ID, creates.Load())
			}
		})
	}
}

// giveBack has a worker take a task whose worker has died, and leave it to the next.
func (r *rig) giveBack(id string) {
	r.t.Helper()
	claims, err := r.deadWorker("w").Take(r.t.Context(), "otp", 1)
	if err != nil || claims[0].ID != id || !claims[0].InDoubt {
		r.t.Fatalf("took %+v, %v", claims, err)
	}
	if err := claims[0].End(broker.Result{InDoubt: true}); err != nil {
		r.t.Fatal(err)
	}
}

// A worker that lacks the payload's key parks the task. Who has the key looks
// for it all the same before it creates again.
func TestDoubtSurvivesAWorkerThatCannotRunTheTask(t *testing.T) {
	t.Parallel()
	var creates atomic.Int32
	r := newRig(t, findable(&creates))
	ring, err := seal.Parse("k1:" + strings.Repeat("A", 43) + "=")
	if err != nil {
		t.Fatal(err)
	}
	r.producer = broker.NewProducer(client(r), r.store, ring)
	id := r.enqueue("t:create").ID
	r.crash(id, 1)
	r.giveBack(id)
	stop := r.work()
	r.await(id, record.Parked)
	stop()
	if err := r.asynq.RunTask("otp", id); err != nil {
		t.Fatal(err)
	}
	r.work(func(c *worker.Config) { c.Ring = ring })
	got := r.wait(id)
	if data, err := broker.OpenResult(ring, got); err != nil || string(data) != `"found"` || creates.Load() != 0 {
		t.Errorf("%+v, data %s, %v, %d creates", got, data, err, creates.Load())
	}
}

// await waits until the task is in a state; a record that cannot be read fails
// the test.
func (r *rig) await(id string, want record.State) {
	r.t.Helper()
	testwait.Eventually(r.t, testwait.Limit, id+" is "+string(want), func() bool {
		got, err := r.store.Get(r.t.Context(), id)
		if err != nil {
			r.t.Fatalf("%s is not %s: %v", id, want, err)
		}
		return got.State == want
	})
}

// waitRewritten waits for the end of a task whose record only the worker writes,
// once it has taken the task. Until then there is none.
func (r *rig) waitRewritten(id string) (got *record.Record) {
	r.t.Helper()
	testwait.Eventually(r.t, testwait.Limit, id+" has ended", func() bool {
		var err error
		got, err = r.store.Get(r.t.Context(), id)
		if err != nil && !errors.Is(err, record.ErrNotFound) {
			r.t.Fatal(err)
		}
		return err == nil && got.State == record.Ended
	})
	return got
}

// What may have happened was attempted, also where no attempt is in its history.
func TestWhatIsInDoubtCannotBeCancelled(t *testing.T) {
	t.Parallel()
	var creates atomic.Int32
	r := newRig(t, findable(&creates))
	id := r.enqueue("t:create").ID
	r.crash(id, 1)
	r.giveBack(id)
	if _, started := errors.AsType[*record.StartedError](r.producer.Cancel(t.Context(), id)); !started {
		t.Error("it was cancelled")
	}
}
