package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/seal"
	"errand.internal/internal/testwait"
)

// findable is a create whose first call took effect: whoever looks, finds it.
func findable(creates *atomic.Int32) queue.Definition {
	d := define("t:create", queue.Policy{}, func(context.Context, string) (any, error) { creates.Add(1); return nil, nil })
	d.Reconcile = func(context.Context, queue.Payload) (any, bool, error) { return "found", true, nil }
	return d
}

// crash claims the task as n workers would, one after the other, that each die
// during their call.
func (r *rig) crash(id string, n int) {
	r.t.Helper()
	for i := range n {
		if _, err := r.store.Begin(r.t.Context(), ledger.Claim{
			ID: id, Type: "t:create", Owner: fmt.Sprint("w", i), DeadOwner: fmt.Sprint("w", i-1), For: time.Hour, Expires: time.Now().Add(time.Hour), Findable: true,
		}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// What may have happened and is not looked up any more ends unknown, however it
// comes to its end: another outcome would free the key for a second create.
func TestWhatIsInDoubtKeepsItsKey(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		crashes int
		change  func(*queue.Job)
		without bool // the worker does not know the type
		message string
	}{
		{name: "its worker died three times", crashes: 3, message: "died three times"},
		{name: "its time is up", crashes: 1, change: func(j *queue.Job) { j.ExpireAfter = time.Millisecond }, message: "its time was up"},
		{name: "an older worker does not know the type", crashes: 1, without: true, message: "no such task type"},
		{name: "an older worker cannot read the payload", crashes: 1, change: func(j *queue.Job) { j.Payload = []byte(`{"name":7}`) }, message: "the payload is wrong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var creates atomic.Int32
			r := newRig(t, findable(&creates))
			keyed := func(j *queue.Job) {
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
				r.giveBack(first.ID, tc.crashes)
			}
			r.work(func(c *queue.Config) {
				if tc.without {
					c.Definitions = []queue.Definition{define("t:other", queue.Policy{}, nil)}
				}
			})
			if record := r.wait(first.ID); record.Outcome != ledger.Unknown || !strings.Contains(record.Message, "may have happened") || !strings.Contains(record.Message, tc.message) {
				t.Errorf("outcome %s, %q", record.Outcome, record.Message)
			}
			if again := r.enqueue("t:create", keyed); again.ID != first.ID || creates.Load() != 0 {
				t.Errorf("the key was freed (%v), %d creates", again.ID != first.ID, creates.Load())
			}
		})
	}
}

// giveBack claims a task whose worker has died, and leaves it to the next.
func (r *rig) giveBack(id string, crashes int) {
	r.t.Helper()
	grant, err := r.store.Begin(r.t.Context(), ledger.Claim{
		ID: id, Type: "t:create", Owner: "w", DeadOwner: fmt.Sprint("w", crashes-1), For: time.Hour, Expires: time.Now().Add(time.Hour), Findable: true,
	})
	if err == nil && !grant.InDoubt {
		err = errors.New("the doubt is not in the grant")
	}
	if err == nil {
		err = r.store.Finish(r.t.Context(), id, grant, ledger.Result{State: ledger.Retrying, InDoubt: true})
	}
	if err != nil {
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
	r.producer = queue.NewProducer(client(r), r.store, ring)
	id := r.enqueue("t:create").ID
	r.crash(id, 1)
	r.giveBack(id, 1)
	stop := r.work(r.ownClients)
	r.await(id, ledger.Parked)
	stop()
	if err := r.asynq.RunTask("otp", id); err != nil {
		t.Fatal(err)
	}
	client(r).HDel(t.Context(), "errand:{otp}:task:"+id, "next")
	r.work(r.ownClients, func(c *queue.Config) { c.Ring = ring })
	record := r.wait(id)
	if data, err := queue.OpenResult(ring, record); err != nil || string(data) != `"found"` || creates.Load() != 0 {
		t.Errorf("%+v, data %s, %v, %d creates", record, data, err, creates.Load())
	}
}

// ownClients gives a worker clients of its own: it leaves its hooks on them, and
// another one follows.
func (r *rig) ownClients(c *queue.Config) {
	open := func() *redis.Client {
		own := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
		r.t.Cleanup(func() { _ = own.Close() })
		return own
	}
	c.Redis, c.General, c.Store = open(), open(), ledger.New(open())
}

// await waits until the task is in a state; a record that cannot be read fails
// the test.
func (r *rig) await(id string, want ledger.State) {
	r.t.Helper()
	testwait.Eventually(r.t, 30*time.Second, id+" is "+string(want), func() bool {
		record, err := r.store.Get(r.t.Context(), id)
		if err != nil {
			r.t.Fatalf("%s is not %s: %v", id, want, err)
		}
		return record.State == want
	})
}

// waitRewritten waits for the end of a task whose record only the worker writes,
// once it has taken the task. Until then there is none.
func (r *rig) waitRewritten(id string) (record *ledger.Record) {
	r.t.Helper()
	testwait.Eventually(r.t, 30*time.Second, id+" has ended", func() bool {
		var err error
		record, err = r.store.Get(r.t.Context(), id)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			r.t.Fatal(err)
		}
		return err == nil && record.State == ledger.Ended
	})
	return record
}

// What may have happened was attempted, also where no attempt is in its history.
func TestWhatIsInDoubtCannotBeCancelled(t *testing.T) {
	t.Parallel()
	var creates atomic.Int32
	r := newRig(t, findable(&creates))
	id := r.enqueue("t:create").ID
	r.crash(id, 1)
	r.giveBack(id, 1)
	if _, started := errors.AsType[*ledger.StartedError](r.store.Cancel(t.Context(), id, time.Hour)); !started {
		t.Error("it was cancelled")
	}
}
