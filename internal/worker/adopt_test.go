package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
	"errand.internal/internal/worker"
)

// plain enqueues a task as a program does that knows only asynq.
func (r *rig) plain(taskType, payload string, options ...asynq.Option) string {
	r.t.Helper()
	options = append(options, asynq.Queue("otp"))
	info, err := asynq.NewClientFromRedisClient(r.ownClient()).Enqueue(asynq.NewTask(taskType, []byte(payload)), options...)
	if err != nil {
		r.t.Fatal(err)
	}
	return info.ID
}

// A plain asynq client's task runs like any other of its type, whatever the options
// say that asynq has for its own workers.
func TestAPlainAsynqClientsTaskIsAdopted(t *testing.T) {
	t.Parallel()
	const payload = `{"name":"x"}`
	for n, tc := range []struct {
		name     string
		taskType string
		payload  string
		options  []asynq.Option
		strict   bool
		old      time.Duration // how long it has been pending
		outcome  record.Outcome
		calls    int32
	}{
		{name: "defaults", outcome: record.Done, calls: 1},
		{name: "MaxRetry(0), first call fails", taskType: "t:flaky", options: []asynq.Option{asynq.MaxRetry(0)}, outcome: record.Done, calls: 2},
		{name: "Timeout of a second", taskType: "t:slow", options: []asynq.Option{asynq.Timeout(time.Second)}, outcome: record.Done, calls: 1},
		{name: "Deadline in the past", options: []asynq.Option{asynq.Deadline(time.Now().Add(-time.Hour))}, outcome: record.Done, calls: 1},
		{name: "Unique", options: []asynq.Option{asynq.Unique(time.Hour)}, outcome: record.Done, calls: 1},
		{name: "no retention", options: []asynq.Option{asynq.Retention(0)}, outcome: record.Done, calls: 1},
		{name: "ten minutes old", old: 10 * time.Minute, outcome: record.Expired},
		{name: "bad payload", payload: `{"name":7}`, outcome: record.Invalid},
		{name: "plain where only sealed ones are allowed", strict: true, outcome: record.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			done := func(context.Context, string) (any, error) { calls.Add(1); return nil, nil }
			r := newRig(t, define("t:plain", broker.Policy{}, done),
				define("t:flaky", broker.Policy{}, func(context.Context, string) (any, error) {
					if calls.Add(1) == 1 {
						return nil, fault(clients.Temporary, "maintenance")
					}
					return nil, nil
				}),
				define("t:slow", broker.Policy{}, func(context.Context, string) (any, error) {
					calls.Add(1)
					time.Sleep(1500 * time.Millisecond) // longer than the task's own Timeout
					return nil, nil
				}))
			if tc.taskType == "" {
				tc.taskType = "t:plain"
			}
			if tc.payload == "" {
				tc.payload = payload
			}
			id := fmt.Sprint("otp_plain", n)
			r.plain(tc.taskType, tc.payload, append(tc.options, asynq.TaskID(id))...)
			if tc.old > 0 {
				since := time.Now().Add(-tc.old).UnixNano()
				client(r).HSet(t.Context(), "asynq:{otp}:t:"+id, "pending_since", since)
			}
			r.work(func(c *worker.Config) {
				if tc.strict {
					ring, err := seal.Parse("k1:" + strings.Repeat("A", 43) + "=")
					if err != nil {
						t.Fatal(err)
					}
					c.Ring = ring.Strict()
				}
			})
			got := r.waitRewritten(id)
			if got.Outcome != tc.outcome || calls.Load() != tc.calls {
				t.Errorf("%s after %d calls, want %s after %d: %+v", got.Outcome, calls.Load(), tc.outcome, tc.calls, got)
			}
			if locks := client(r).Keys(t.Context(), "asynq:{otp}:unique:*").Val(); len(locks) > 0 {
				t.Errorf("the unique lock is still taken: %v", locks)
			}
			r.check()
		})
	}
}

// A task of a type that this worker does not know stays for one that does.
func TestAnUnknownTypeWaitsForAnotherWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	known := define("t:newer", broker.Policy{}, func(context.Context, string) (any, error) { return nil, nil })
	ours := r.enqueue("t:newer").ID
	theirs := r.plain("t:newer", `{"name":"x"}`, asynq.TaskID("otp_theirs"))
	stop := r.work(func(c *worker.Config) { c.Definitions = []worker.Definition{define("t:other", broker.Policy{}, nil)} })
	r.await(ours, record.Parked)
	r.await(theirs, record.Parked)
	stop()
	r.defs[known.Type] = known
	r.work(func(c *worker.Config) { c.Owner = "newer" })
	for _, id := range []string{ours, theirs} {
		if err := r.asynq.RunTask("otp", id); err != nil {
			t.Fatal(err)
		}
		if got := r.wait(id); got.Outcome != record.Done || got.Attempts != 1 {
			t.Errorf("record = %+v", got)
		}
	}
}

// An adopted task is ordered among those of its subject that Errand's producers
// enqueued, also by a worker that has never learned the salt of the subjects' digests.
func TestAnAdoptedTaskKeepsTheOrderOfItsSubject(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	r := newRig(t, intentDefs(func(context.Context, string) (any, error) { opened.Add(1); return nil, nil },
		func(context.Context, string) (any, error) { return nil, nil })...)
	opening := r.enqueue("t:open", func(j *broker.Job) { j.In = 2 * time.Second }).ID // runs after the closing
	closing := r.plain("t:close", `{"name":"x"}`, asynq.TaskID("otp_leaver"))
	r.work()
	if got := r.waitRewritten(closing); got.Outcome != record.Done {
		t.Errorf("closing: %+v", got)
	}
	if got := r.wait(opening); got.Outcome != record.Superseded || opened.Load() != 0 {
		t.Errorf("the opening ended %s after %d calls, want superseded", got.Outcome, opened.Load())
	}
}
