package worker_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/clients"
	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
)

// takeWithoutClaim makes the queue's next task, which is id, active although nobody
// has claimed it, as a foreign tool may.
func (r *rig) takeWithoutClaim(id string) {
	r.t.Helper()
	ctx := context.Background()
	if got := client(r).LMove(ctx, "asynq:{otp}:pending", "asynq:{otp}:active", "RIGHT", "LEFT").Val(); got != id {
		r.t.Fatalf("took %q, want %s", got, id)
	}
	client(r).HSet(ctx, "asynq:{otp}:t:"+id, "state", "active")
}

// The reconciler finds the tasks of dead workers within seconds, and knows which call may
// have left.
func TestTasksOfDeadWorkersAreRecovered(t *testing.T) {
	t.Parallel()
	var sends, reads atomic.Int32
	r := newRig(t,
		define("t:send", broker.Policy{}, func(context.Context, string) (any, error) { sends.Add(1); return nil, nil }),
		define("t:read", broker.Policy{Redelivery: broker.AtLeastOnce}, func(context.Context, string) (any, error) { reads.Add(1); return nil, nil }))
	send := r.enqueue("t:send").ID
	r.takeAway(send, "dead-1", true)
	read := r.enqueue("t:read").ID
	r.takeAway(read, "dead-2", true)
	taken := r.enqueue("t:send").ID
	r.takeAway(taken, "dead-3", false)
	ghost := r.enqueue("t:send").ID
	r.takeWithoutClaim(ghost)
	r.work()
	if got := r.wait(send); got.Outcome != record.Unknown || !strings.Contains(got.Message, "died") {
		t.Errorf("a claimed send: %+v", got)
	}
	if got := r.wait(read); got.Outcome != record.Done || got.Attempts != 1 {
		t.Errorf("a claimed read: %+v", got)
	}
	if got := r.wait(taken); got.Outcome != record.Done {
		t.Errorf("a send whose call was not started: %+v", got)
	}
	if got := r.wait(ghost); got.Outcome != record.Done {
		t.Errorf("a send that nobody had claimed: %+v", got)
	}
	if sends.Load() != 2 || reads.Load() != 1 {
		t.Errorf("%d sends, %d reads, want 2 and 1", sends.Load(), reads.Load())
	}
}

func TestATaskThatKillsItsWorkerEndsFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:killer", broker.Policy{Redelivery: broker.AtLeastOnce}, func(context.Context, string) (any, error) { return nil, nil }))
	id := r.enqueue("t:killer").ID
	r.crash(id, 3)
	r.work()
	if got := r.wait(id); got.Outcome != record.Failed || !strings.Contains(got.Message, "three times") {
		t.Errorf("record = %+v", got)
	}
}

func TestARecordThatRedisLost(t *testing.T) {
	t.Parallel()
	run := func(context.Context, string) (any, error) { return nil, nil }
	r := newRig(t, define("t:send", broker.Policy{}, run), define("t:read", broker.Policy{Redelivery: broker.AtLeastOnce}, run))
	send, read := r.enqueue("t:send").ID, r.enqueue("t:read").ID
	for _, id := range []string{send, read} {
		client(r).Del(t.Context(), "errand:{otp}:task:"+id)
	}
	r.work()
	for id, want := range map[string]record.Outcome{send: record.Unknown, read: record.Done} {
		if got := r.waitRewritten(id); got.Outcome != want || got.Type == "" {
			t.Errorf("record = %+v, want %s", got, want)
		}
	}
}

// opener and closer are tasks on one user's access.
func intentDefs(open, shut handler) []worker.Definition {
	return []worker.Definition{
		define("t:open", broker.Policy{Intent: broker.Intent{Subject: "user-1", Role: broker.Opens}}, open),
		define("t:close", broker.Policy{Redelivery: broker.AtLeastOnce, AuditSubject: "user-1", Intent: broker.Intent{Subject: "user-1", Role: broker.Closes}}, shut),
	}
}

func TestIntentOrder(t *testing.T) {
	t.Parallel()
	var active, overlaps, opened atomic.Int32
	hold := make(chan chan struct{}, 1) // the next run lasts until the channel in it is closed
	run := func(context.Context, string) (any, error) {
		if active.Add(1) > 1 {
			overlaps.Add(1)
		}
		defer active.Add(-1)
		select {
		case release := <-hold:
			<-release
		default:
		}
		return nil, nil
	}
	r := newRig(t, intentDefs(func(ctx context.Context, name string) (any, error) { opened.Add(1); return run(ctx, name) }, run)...)
	early := r.enqueue("t:open", func(j *broker.Job) { j.In = 2 * time.Second }).ID // runs after the closing
	leaver := r.enqueue("t:close").ID
	r.work(func(c *worker.Config) {
		c.Timeout = func(string) time.Duration { return time.Minute } // a held run must not time out
	})
	if got := r.wait(leaver); got.Outcome != record.Done {
		t.Errorf("closing: %+v", got)
	}
	if got := r.wait(early); got.Outcome != record.Superseded || opened.Load() != 0 {
		t.Errorf("an opening enqueued before: %+v, %d opened", got, opened.Load())
	}
	if got := r.wait(r.enqueue("t:open").ID); got.Outcome != record.Done {
		t.Errorf("a rehire: %+v", got)
	}
	// One run lasts until every other task has tried to start and was turned away.
	release := make(chan struct{})
	hold <- release
	var ids []string
	for range 6 {
		ids = append(ids, r.enqueue("t:close").ID, r.enqueue("t:open").ID)
	}
	testwait.Eventually(t, testwait.Limit, "every task but the running one was turned away", func() bool {
		return overlaps.Load() > 0 || r.turnedAway(ids) == len(ids)-1
	})
	close(release)
	for _, id := range ids {
		r.wait(id)
	}
	if n := overlaps.Load(); n != 0 {
		t.Errorf("%d runs began during another one for the same user", n)
	}
}

// turnedAway counts the tasks that wait because their counterpart is running.
func (r *rig) turnedAway(ids []string) (n int) {
	r.t.Helper()
	for _, id := range ids {
		info, err := r.asynq.GetTaskInfo("otp", id)
		if err != nil {
			r.t.Fatal(err)
		}
		if info.State == asynq.TaskStateRetry {
			n++
		}
	}
	return n
}

func TestAnOvertakenUnknownOpeningIsClosedTwice(t *testing.T) {
	t.Parallel()
	var closed atomic.Int32
	opening, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, intentDefs(func(context.Context, string) (any, error) {
		close(opening)
		<-release
		return nil, fault(clients.Unknown, "no answer")
	}, func(context.Context, string) (any, error) { closed.Add(1); return nil, nil })...)
	r.work(func(c *worker.Config) { c.ReconfirmAfter = 10 * time.Millisecond })
	unknown := r.enqueue("t:open").ID
	<-opening
	leaver := r.enqueue("t:close").ID
	close(release)
	if got := r.wait(unknown); got.Outcome != record.Unknown {
		t.Errorf("opening: %+v", got)
	}
	if got := r.wait(leaver); got.Outcome != record.Done || closed.Load() != 2 {
		t.Errorf("closing: %+v, confirmed %d times, want 2", got, closed.Load())
	}
	again := r.enqueue("t:close").ID
	if r.wait(again); closed.Load() != 3 {
		t.Errorf("a later closing was confirmed %d times, want 1", closed.Load()-2)
	}
}

func TestDeadLettersAndTrail(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var heard []alert.Alert
	r := newRig(t, append(intentDefs(nil, func(context.Context, string) (any, error) { return nil, nil }),
		define("t:bad", broker.Policy{}, func(context.Context, string) (any, error) { return nil, fault(clients.Invalid, "bad") }))...)
	stop := r.work(func(c *worker.Config) {
		c.Alert = func(a alert.Alert) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, a)
		}
	})
	const n = 25
	want := map[string]bool{}
	for range n {
		id := r.enqueue("t:bad").ID
		want[id] = true
		r.wait(id)
	}
	leaver := r.enqueue("t:close").ID
	r.wait(leaver)
	stop()
	got := map[string]bool{}
	if err := r.store.EachDeadLetter(t.Context(), "otp", time.Time{}, func(l record.DeadLetter) error {
		if got[l.ID] || l.Outcome != record.Invalid || l.Code != "42" || l.Attempts != 1 || l.Type != "t:bad" {
			t.Errorf("letter %+v", l)
		}
		got[l.ID] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != n || len(heard) != n {
		t.Errorf("%d letters, %d announcements, want %d", len(got), len(heard), n)
	}
	var events []string
	if err := r.store.EachAuditEntry(t.Context(), "otp", func(e record.AuditEntry) error {
		if e.ID != leaver {
			t.Errorf("a trail of %s", e.ID)
		}
		if e.Event == "asked" {
			if subject, err := broker.OpenSubject(nil, e); err != nil || subject != "user-1" {
				t.Errorf("subject %q, %v", subject, err)
			}
		}
		events = append(events, e.Event+string(e.Outcome))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Join(events, " ") != "asked endeddone" {
		t.Errorf("trail = %v", events)
	}
	err := r.store.EachUnconfirmed(t.Context(), "otp", time.Now().Add(time.Hour), func(id string, _ time.Time) error {
		t.Errorf("%s is unconfirmed", id)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A create that may have happened is looked for, twice, before it is run again.
func TestFindableTasks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		there       bool // whether the first create took effect
		lookupFault bool // whether the first lookup fails
		creates     int32
		lookups     int32
		data        string
	}{
		{name: "it had happened", there: true, creates: 1, lookups: 1, data: `"found"`},
		{name: "it had not", creates: 2, lookups: 2, data: `"created"`},
		{name: "it had, and a lookup failed", there: true, lookupFault: true, creates: 1, lookups: 2, data: `"found"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var creates, lookups atomic.Int32
			d := define("t:create", broker.Policy{Redelivery: broker.Reconciled}, func(context.Context, string) (any, error) {
				if creates.Add(1) == 1 {
					return nil, fault(clients.Unknown, "no answer")
				}
				return "created", nil
			})
			d.Reconcile = func(ctx context.Context, _ worker.Payload) (any, bool, error) {
				if worker.TaskID(ctx) == "" {
					t.Error("no task ID")
				}
				if lookups.Add(1) == 1 && tc.lookupFault {
					return nil, false, fault(clients.Unknown, "no answer")
				}
				return "found", tc.there, nil
			}
			r := newRig(t, d)
			r.work(func(c *worker.Config) {
				c.LookupPause = time.Millisecond
				c.Timeout = func(string) time.Duration { return 500 * time.Millisecond }
			})
			got := r.wait(r.enqueue("t:create").ID)
			data, err := broker.OpenResult(nil, got)
			if err != nil || got.Outcome != record.Done || string(data) != tc.data || creates.Load() != tc.creates || lookups.Load() != tc.lookups {
				t.Errorf("%+v, data %s, %d creates, %d lookups, %v", got, data, creates.Load(), lookups.Load(), err)
			}
		})
	}
}

func TestAFindableTaskOfADeadWorkerIsLookedFor(t *testing.T) {
	t.Parallel()
	var creates atomic.Int32
	d := define("t:create", broker.Policy{Redelivery: broker.Reconciled}, func(context.Context, string) (any, error) { creates.Add(1); return nil, nil })
	d.Reconcile = func(context.Context, worker.Payload) (any, bool, error) { return "found", true, nil }
	r := newRig(t, d)
	id := r.enqueue("t:create").ID
	r.takeAway(id, "dead", true)
	r.work()
	if got := r.wait(id); got.Outcome != record.Done || creates.Load() != 0 {
		t.Errorf("record = %+v, %d creates", got, creates.Load())
	}
}

// An inactivation that ends unconfirmed is announced at once.
func TestAnUnconfirmedEndIsAnnounced(t *testing.T) {
	t.Parallel()
	heard := make(chan alert.Alert, 10)
	r := newRig(t, intentDefs(nil, func(context.Context, string) (any, error) {
		return nil, fault(clients.Invalid, "no such user")
	})...)
	r.work(func(c *worker.Config) { c.Alert = func(a alert.Alert) { heard <- a } })
	id := r.enqueue("t:close").ID
	for {
		a := <-heard
		if a.Kind != alert.TaskUnconfirmed {
			continue
		}
		if a.Subject != id || a.Data["outcome"] != string(record.Invalid) {
			t.Errorf("%+v", a)
		}
		return
	}
}
