package queue_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/internal/alert"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/testwait"
)

// takeAway does what a worker does that dies with a task in hand: it takes the
// task out of the pending list, and claims it if claimed is true.
func (r *rig) takeAway(id string, claimed, repeatable bool) {
	r.t.Helper()
	ctx := context.Background()
	if got := client(r).LMove(ctx, "asynq:{otp}:pending", "asynq:{otp}:active", "RIGHT", "LEFT").Val(); got != id {
		r.t.Fatalf("took %q, want %s", got, id)
	}
	client(r).HSet(ctx, "asynq:{otp}:t:"+id, "state", "active")
	if !claimed {
		return
	}
	if _, err := r.store.Begin(ctx, ledger.Claim{
		ID: id, Type: "t", Owner: "dead-process", For: time.Hour, Repeatable: repeatable, Expires: time.Now().Add(time.Hour),
	}); err != nil {
		r.t.Fatal(err)
	}
}

// asynq never recovers an active task without a lease, and takes one to two
// minutes for one whose worker died. The sweeper takes seconds.
func TestTasksOfDeadWorkersAreRecovered(t *testing.T) {
	t.Parallel()
	var sends, reads atomic.Int32
	r := newRig(t,
		define("t:send", queue.Policy{}, func(context.Context, string) (any, error) { sends.Add(1); return nil, nil }),
		define("t:read", queue.Policy{Redelivery: queue.AtLeastOnce}, func(context.Context, string) (any, error) { reads.Add(1); return nil, nil }))
	send := r.enqueue("t:send").ID
	r.takeAway(send, true, false)
	read := r.enqueue("t:read").ID
	r.takeAway(read, true, true)
	ghost := r.enqueue("t:send").ID
	r.takeAway(ghost, false, false)
	r.work()
	if record := r.wait(send); record.Outcome != ledger.Unknown || !strings.Contains(record.Message, "died") {
		t.Errorf("a claimed send: %+v", record)
	}
	if record := r.wait(read); record.Outcome != ledger.Done || record.Attempts != 1 {
		t.Errorf("a claimed read: %+v", record)
	}
	if record := r.wait(ghost); record.Outcome != ledger.Done {
		t.Errorf("a send that nobody had claimed: %+v", record)
	}
	if sends.Load() != 1 || reads.Load() != 1 {
		t.Errorf("%d sends, %d reads, want one each", sends.Load(), reads.Load())
	}
}

// sweeps tells of each look at the active list.
type sweeps chan struct{}

func (sweeps) DialHook(next redis.DialHook) redis.DialHook { return next }

func (sweeps) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s sweeps) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "lrange" {
			select {
			case s <- struct{}{}:
			default:
			}
		}
		return err
	}
}

// A worker dies after a script of asynq stopped halfway: the task is in no list.
func TestATaskInNoListIsRecovered(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:stray", queue.Policy{}, func(context.Context, string) (any, error) { return nil, nil }))
	id := r.enqueue("t:stray").ID
	r.takeAway(id, false, false)
	looks := make(sweeps)
	r.work(func(c *queue.Config) {
		rdb := r.redis.Client()
		rdb.AddHook(looks)
		c.General = rdb
	})
	<-looks
	if n := client(r).LRem(t.Context(), "asynq:{otp}:active", 0, id).Val(); n != 1 {
		t.Fatal("the task was not active")
	}
	if record := r.wait(id); record.Outcome != ledger.Done {
		t.Errorf("record = %+v", record)
	}
}

func TestATaskThatKillsItsWorkerEndsFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t, define("t:killer", queue.Policy{Redelivery: queue.AtLeastOnce}, func(context.Context, string) (any, error) { return nil, nil }))
	id := r.enqueue("t:killer").ID
	for n := range 3 {
		if _, err := r.store.Begin(t.Context(), ledger.Claim{
			ID: id, Type: "t:killer", Owner: fmt.Sprint("w", n), DeadOwner: fmt.Sprint("w", n-1), For: time.Hour, Repeatable: true, Expires: time.Now().Add(time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
	}
	r.work()
	if record := r.wait(id); record.Outcome != ledger.Failed || !strings.Contains(record.Message, "three times") {
		t.Errorf("record = %+v", record)
	}
}

func TestARecordThatRedisLost(t *testing.T) {
	t.Parallel()
	run := func(context.Context, string) (any, error) { return nil, nil }
	r := newRig(t, define("t:send", queue.Policy{}, run), define("t:read", queue.Policy{Redelivery: queue.AtLeastOnce}, run))
	send, read := r.enqueue("t:send").ID, r.enqueue("t:read").ID
	for _, id := range []string{send, read} {
		client(r).Del(t.Context(), "errand:{otp}:task:"+id)
	}
	r.work()
	for id, want := range map[string]ledger.Outcome{send: ledger.Unknown, read: ledger.Done} {
		if record := r.waitRewritten(id); record.Outcome != want || record.Type == "" {
			t.Errorf("record = %+v, want %s", record, want)
		}
	}
}

// opener and closer are tasks on one user's access.
func intentDefs(open, shut handler) []queue.Definition {
	return []queue.Definition{
		define("t:open", queue.Policy{Intent: ledger.Intent{Subject: "user-1", Role: ledger.Opens}}, open),
		define("t:close", queue.Policy{Redelivery: queue.AtLeastOnce, AuditSubject: "user-1", Intent: ledger.Intent{Subject: "user-1", Role: ledger.Closes}}, shut),
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
	early := r.enqueue("t:open", func(j *queue.Job) { j.In = 2 * time.Second }).ID // runs after the closing
	leaver := r.enqueue("t:close").ID
	r.work(func(c *queue.Config) {
		c.Timeout = func(string) time.Duration { return time.Minute } // a held run must not time out
	})
	if record := r.wait(leaver); record.Outcome != ledger.Done {
		t.Errorf("closing: %+v", record)
	}
	if record := r.wait(early); record.Outcome != ledger.Superseded || opened.Load() != 0 {
		t.Errorf("an opening enqueued before: %+v, %d opened", record, opened.Load())
	}
	if record := r.wait(r.enqueue("t:open").ID); record.Outcome != ledger.Done {
		t.Errorf("a rehire: %+v", record)
	}
	// One run lasts until every other task has tried to start and was turned away.
	release := make(chan struct{})
	hold <- release
	var ids []string
	for range 6 {
		ids = append(ids, r.enqueue("t:close").ID, r.enqueue("t:open").ID)
	}
	testwait.Eventually(t, 30*time.Second, "every task but the running one was turned away", func() bool {
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

// turnedAway counts the tasks that a worker took and gave back, because their
// counterpart was running.
func (r *rig) turnedAway(ids []string) (n int) {
	r.t.Helper()
	for _, id := range ids {
		info, err := r.asynq.GetTaskInfo("otp", id)
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.Contains(info.LastErr, "its counterpart, is being run") {
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
	r.work(func(c *queue.Config) { c.ReconfirmAfter = 10 * time.Millisecond })
	unknown := r.enqueue("t:open").ID
	<-opening
	leaver := r.enqueue("t:close").ID
	close(release)
	if record := r.wait(unknown); record.Outcome != ledger.Unknown {
		t.Errorf("opening: %+v", record)
	}
	if record := r.wait(leaver); record.Outcome != ledger.Done || closed.Load() != 2 {
		t.Errorf("closing: %+v, confirmed %d times, want 2", record, closed.Load())
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
		define("t:bad", queue.Policy{}, func(context.Context, string) (any, error) { return nil, fault(clients.Invalid, "bad") }))...)
	stop := r.work(func(c *queue.Config) {
		c.Announce = func(a alert.Alert) {
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
	if err := r.store.EachDeadLetter(t.Context(), "otp", func(l ledger.DeadLetter) error {
		if got[l.ID] || l.Outcome != ledger.Invalid || l.Code != "42" || l.Attempts != 1 || l.Type != "t:bad" {
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
	if err := r.store.EachTrailEntry(t.Context(), "otp", func(e ledger.TrailEntry) error {
		if e.ID != leaver {
			t.Errorf("a trail of %s", e.ID)
		}
		if e.Event == "asked" {
			if subject, err := queue.OpenSubject(nil, e); err != nil || subject != "user-1" {
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
	open, err := r.store.Unconfirmed(t.Context(), "otp", time.Now().Add(time.Hour))
	if err != nil || len(open) != 0 {
		t.Errorf("unconfirmed: %v, %v", open, err)
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
			d := define("t:create", queue.Policy{}, func(context.Context, string) (any, error) {
				if creates.Add(1) == 1 {
					return nil, fault(clients.Unknown, "no answer")
				}
				return "created", nil
			})
			d.Reconcile = func(ctx context.Context, _ queue.Payload) (any, bool, error) {
				if queue.TaskID(ctx) == "" {
					t.Error("no task ID")
				}
				if lookups.Add(1) == 1 && tc.lookupFault {
					return nil, false, fault(clients.Unknown, "no answer")
				}
				return "found", tc.there, nil
			}
			r := newRig(t, d)
			r.work(func(c *queue.Config) {
				c.LookupPause = time.Millisecond
				c.Timeout = func(string) time.Duration { return 500 * time.Millisecond }
			})
			record := r.wait(r.enqueue("t:create").ID)
			data, err := queue.OpenResult(nil, record)
			if err != nil || record.Outcome != ledger.Done || string(data) != tc.data || creates.Load() != tc.creates || lookups.Load() != tc.lookups {
				t.Errorf("%+v, data %s, %d creates, %d lookups, %v", record, data, creates.Load(), lookups.Load(), err)
			}
		})
	}
}

func TestAFindableTaskOfADeadWorkerIsLookedFor(t *testing.T) {
	t.Parallel()
	var creates atomic.Int32
	d := define("t:create", queue.Policy{}, func(context.Context, string) (any, error) { creates.Add(1); return nil, nil })
	d.Reconcile = func(context.Context, queue.Payload) (any, bool, error) { return "found", true, nil }
	r := newRig(t, d)
	id := r.enqueue("t:create").ID
	r.takeAway(id, true, false)
	r.work()
	if record := r.wait(id); record.Outcome != ledger.Done || creates.Load() != 0 {
		t.Errorf("record = %+v, %d creates", record, creates.Load())
	}
}
