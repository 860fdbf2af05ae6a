package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

func TestLifeOfATask(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ticket := r.enqueue()
	got := r.get(ticket.ID)
	if !strings.HasPrefix(ticket.ID, "otp_") || got.State != record.Pending || got.Expires.Sub(got.Due) != time.Minute || !got.Due.Equal(ticket.Due) {
		t.Fatalf("enqueued %+v: %+v", ticket, got)
	}
	c := r.start()
	if c.ID != ticket.ID || c.Type != "a:b" || c.Queue != queue || c.Verdict != broker.Run || c.Attempts != 0 ||
		!c.Due.Equal(got.Due) || !c.Expires.Equal(got.Expires) || c.Foreign || c.Version != broker.PayloadVersion {
		t.Errorf("claim = %+v", c)
	}
	if plain, err := broker.OpenPayload(nil, c); err != nil || string(plain) != `{"x":1}` {
		t.Errorf("payload %s, %v", plain, err)
	}
	if got := r.get(ticket.ID); got.State != record.Running {
		t.Errorf("while running: %+v", got)
	}
	r.check()
	r.end(c, again(time.Hour))
	if got := r.get(ticket.ID); got.State != record.Retrying || got.Next.Before(r.now().Add(59*time.Minute)) || got.Code != "05" || got.Message != "maintenance" {
		t.Errorf("between attempts: %+v", got)
	}
	r.check()
	r.forward("retry")
	c = r.start()
	if c.Attempts != 1 {
		t.Errorf("attempts = %d, want 1", c.Attempts)
	}
	done := ended(record.Done)
	done.Data = []byte(`{"idRequest":"251"}`)
	r.end(c, done)
	got = r.get(ticket.ID)
	if got.State != record.Ended || got.Outcome != record.Done || got.Attempts != 2 || string(got.Data) != `{"idRequest":"251"}` || got.Code != "" || !got.Next.IsZero() {
		t.Errorf("record = %+v", got)
	}
	if a := got.History[0]; a.Class != "temporary" || a.Code != "05" || a.Took != 120*time.Millisecond || a.Status != 200 {
		t.Errorf("history = %+v", got.History)
	}
	if says := r.asynqSays(ticket.ID); says != "completed" {
		t.Errorf("asynq says %s", says)
	}
	r.takeNothing()
	r.check()
}

// A task whose record somebody has overwritten keeps no other from running, is told of,
// and is not lost.
func TestADamagedRecordKeepsNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	damaged := r.enqueue().ID
	r.enqueue()
	r.enqueue()
	backup := r.rdb.Dump(t.Context(), record.Key(queue, damaged)).Val()
	r.rdb.Set(t.Context(), record.Key(queue, damaged), "no record", 0)
	claims, err := r.server("w1").Take(t.Context(), queue, 3)
	if err != nil || len(claims) != 2 {
		t.Fatalf("took %d, %v; want the two others", len(claims), err)
	}
	if _, err := r.server("w1").Take(t.Context(), queue, 3); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("the damaged one alone: %v", err)
	}
	if err := r.rdb.RestoreReplace(t.Context(), record.Key(queue, damaged), 0, backup).Err(); err != nil {
		t.Fatal(err)
	}
	if c := r.take(); c.ID != damaged {
		t.Errorf("took %s after it was mended", c.ID)
	}
	r.check()
}

// The verdicts of a claim, whatever the task has been through.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	expired := func(r *rig, id string) { r.ask(id, func(a *record.Asked) { a.Usable = 0 }) }
	for _, tc := range []struct {
		name   string
		change []func(*broker.Job)
		prep   func(r *rig, id string)
		want   broker.Verdict
	}{
		{name: "fresh", want: broker.Run},
		{name: "expired", prep: expired, want: broker.OutOfTime},
		{name: "after an attempt", prep: func(r *rig, _ string) { r.end(r.start(), again(0)); r.forward("retry") }, want: broker.Run},
		{name: "its worker died before the call", prep: func(r *rig, id string) { r.take(); r.requeue(id, "w1", true) }, want: broker.Run},
		{name: "its worker died during the call", prep: func(r *rig, id string) { r.start(); r.requeue(id, "w1", true) }, want: broker.Abandoned},
		{
			name: "the next one died, too", prep: func(r *rig, id string) {
				r.start()
				r.requeue(id, "w1", true)
				r.take()
				r.requeue(id, "w1", true)
			}, want: broker.Abandoned,
		},
		{
			name: "its worker died during a call that may be repeated", change: []func(*broker.Job){redelivered(broker.AtLeastOnce)},
			prep: func(r *rig, id string) { r.start(); r.requeue(id, "w1", true) }, want: broker.Run,
		},
		{
			name: "its worker died during a call that can be looked up", change: []func(*broker.Job){redelivered(broker.Reconciled)},
			prep: func(r *rig, id string) { r.start(); r.requeue(id, "w1", true) }, want: broker.Run,
		},
		{
			name: "three workers died", change: []func(*broker.Job){redelivered(broker.AtLeastOnce)},
			prep: func(r *rig, id string) {
				for range 3 {
					r.start()
					r.requeue(id, "w1", true)
				}
			}, want: broker.Crashed,
		},
		{
			name: "two workers died", change: []func(*broker.Job){redelivered(broker.AtLeastOnce)},
			prep: func(r *rig, id string) {
				for range 2 {
					r.start()
					r.requeue(id, "w1", true)
				}
			}, want: broker.Run,
		},
		{
			name: "three workers stopped, and two died", change: []func(*broker.Job){redelivered(broker.AtLeastOnce)},
			prep: func(r *rig, id string) {
				for i := range 3 {
					stopped := fmt.Sprint("stopped-", i)
					r.takeAs(stopped)
					r.server(stopped).Shutdown()
				}
				for range 2 {
					r.start()
					r.requeue(id, "w1", true)
				}
			}, want: broker.Run,
		},
		{
			name: "nobody had it, three times", change: []func(*broker.Job){redelivered(broker.AtLeastOnce)},
			prep: func(r *rig, id string) {
				for range 3 {
					r.start()
					r.requeue(id, "w1", false)
				}
			}, want: broker.Run,
		},
		{
			name: "abandoned and expired", prep: func(r *rig, id string) {
				r.start()
				r.requeue(id, "w1", true)
				expired(r, id)
			}, want: broker.Abandoned,
		},
		{
			name: "no record", prep: func(r *rig, id string) { r.rdb.Del(context.Background(), record.Key(queue, id)) },
			want: broker.Unrecorded,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.enqueue(tc.change...).ID
			if tc.prep != nil {
				tc.prep(r, id)
			}
			c := r.takeAs("w2")
			if c.ID != id || c.Verdict != tc.want {
				t.Errorf("%s: %s, want %s", c.ID, c.Verdict, tc.want)
			}
			if strings.Contains(tc.name, "looked up") != c.InDoubt {
				t.Errorf("in doubt: %v", c.InDoubt)
			}
		})
	}
}

// requeue has a judge put a task back.
func (r *rig) requeue(id, owner string, crashed bool) {
	r.t.Helper()
	moved, err := r.server("judge").Requeue(context.Background(), queue, id, owner, crashed)
	if err != nil || !moved {
		r.t.Fatalf("requeued %v, %v", moved, err)
	}
	r.check()
}

func intent(role broker.Role) func(*broker.Job) {
	return func(j *broker.Job) { j.Policy.Intent = broker.Intent{Subject: "user-1", Role: role} }
}

func TestIntents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	opening := r.enqueue(intent(broker.Opens), func(j *broker.Job) { j.In = time.Hour })
	closing := r.enqueue(intent(broker.Closes))
	c := r.start()
	if c.ID != closing.ID || c.Verdict != broker.Run {
		t.Fatalf("claim = %+v", c)
	}
	// While the closing runs, nothing of the subject does.
	other := r.enqueue(intent(broker.Closes))
	r.takeNothing()
	if says := r.asynqSays(other.ID); says != "retry" {
		t.Errorf("the one that waits is %s", says)
	}
	r.check()
	r.end(c, ended(record.Done))
	r.forward("retry")
	if c = r.start(); c.ID != other.ID || c.Verdict != broker.Run {
		t.Errorf("after the end of the first: %+v", c)
	}
	r.end(c, ended(record.Done))
	// An opening that was enqueued before a closing that has started is superseded.
	r.forward("scheduled")
	if c = r.take(); c.ID != opening.ID || c.Verdict != broker.Overtaken {
		t.Errorf("the early opening: %s", c.Verdict)
	}
	r.end(c, broker.Result{Outcome: record.Superseded})
	later := r.enqueue(intent(broker.Opens))
	if c = r.start(); c.ID != later.ID || c.Verdict != broker.Run {
		t.Errorf("a later opening: %s", c.Verdict)
	}
	// A closing that overtakes an opening whose end is unknown is confirmed once more.
	last := r.enqueue(intent(broker.Closes))
	r.end(c, ended(record.Unknown))
	if c = r.start(); c.ID != last.ID || !c.Reconfirm {
		t.Errorf("the closing after an unknown opening: %+v", c)
	}
	confirmed := again(0)
	confirmed.Confirmed = true
	r.end(c, confirmed)
	r.forward("retry")
	if c = r.start(); c.ID != last.ID || c.Reconfirm {
		t.Errorf("confirmed once: %+v", c)
	}
	r.end(c, ended(record.Done))
	r.check()
}

// An intent is remembered for longer than a task may lie ahead: the closing of today
// overtakes the opening that was asked for before it, and is due in ten years.
func TestAnIntentOutlivesWhatItOvertakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const ahead = 10 * 365 * 24 * time.Hour // the longest delay that enqueue takes
	r.enqueue(intent(broker.Opens), func(j *broker.Job) { j.In = ahead })
	r.enqueue(intent(broker.Closes))
	r.end(r.start(), ended(record.Done))
	keys := r.rdb.Keys(t.Context(), "errand:{otp}:intent:*").Val()
	if len(keys) != 1 {
		t.Fatalf("intents: %v, want one", keys)
	}
	if left := r.rdb.PTTL(t.Context(), keys[0]).Val(); left < ahead+30*24*time.Hour || left > 2*ahead {
		t.Errorf("the intent is remembered for %v, want some more than %v", left, ahead)
	}
	r.forward("scheduled")
	if c := r.take(); c.Verdict != broker.Overtaken {
		t.Errorf("the opening: %s", c.Verdict)
	}
}

// Whatever puts a task into the queue before its time, it goes back to its time; a
// parked one runs.
func TestEarlyTasksGoBack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		prep func(r *rig) string
		want string
	}{
		{"retrying", func(r *rig) string { id := r.enqueue().ID; r.end(r.start(), again(time.Hour)); return id }, "retry"},
		{"scheduled", func(r *rig) string { return r.enqueue(func(j *broker.Job) { j.In = time.Hour }).ID }, "scheduled"},
		{"parked", func(r *rig) string { id := r.enqueue().ID; r.end(r.take(), parked("cred", time.Hour)); return id }, "active"},
		{"done", func(r *rig) string { id := r.enqueue().ID; r.end(r.start(), ended(record.Done)); return id }, "completed"},
		{"failed", func(r *rig) string { id := r.enqueue().ID; r.end(r.start(), ended(record.Failed)); return id }, "archived"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := tc.prep(r)
			set := r.asynqSays(id)
			before := r.rdb.ZScore(t.Context(), "asynq:{otp}:"+set, id).Val()
			if err := r.runAnyway(id); err != nil {
				t.Fatal(err)
			}
			r.check()
			claims, err := r.server("w1").Take(t.Context(), queue, 1)
			if tc.want == "active" {
				if err != nil || claims[0].ID != id || claims[0].Verdict != broker.Run {
					t.Errorf("took %v, %v", claims, err)
				}
				if left := r.rdb.SCard(t.Context(), "errand:{otp}:parked:cred").Val(); left != 0 {
					t.Errorf("%d are still parked", left)
				}
			} else if !errors.Is(err, redis.Nil) {
				t.Errorf("took %v, %v", claims, err)
			}
			if says := r.asynqSays(id); says != tc.want {
				t.Errorf("asynq says %s, want %s", says, tc.want)
			}
			if set == "retry" && tc.want == "retry" || set == "scheduled" {
				if after := r.rdb.ZScore(t.Context(), "asynq:{otp}:"+set, id).Val(); after != before {
					t.Errorf("it goes back to %v, it was at %v", after, before)
				}
			}
			r.check()
		})
	}
}

// runAnyway makes a task pending, as asynqmon's Run does; asynq refuses that for one
// that is completed, other tools do not.
func (r *rig) runAnyway(id string) error {
	ctx := context.Background()
	if r.asynqSays(id) != "completed" {
		return r.asynq.RunTask(queue, id)
	}
	r.rdb.ZRem(ctx, "asynq:{otp}:completed", id)
	r.rdb.LPush(ctx, "asynq:{otp}:pending", id)
	return r.rdb.HSet(ctx, "asynq:{otp}:t:"+id, "state", "pending").Err()
}

// A running task that a foreign tool puts back is not run twice.
func TestARunningTaskIsNotTakenAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue().ID
	c := r.start()
	pipe := r.rdb.TxPipeline()
	pipe.LRem(t.Context(), "asynq:{otp}:active", 0, id)
	pipe.LPush(t.Context(), "asynq:{otp}:pending", id)
	pipe.HSet(t.Context(), "asynq:{otp}:t:"+id, "state", "pending")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.takeNothing()
	r.end(c, ended(record.Done))
	if says := r.asynqSays(id); says != "completed" {
		t.Errorf("asynq says %s", says)
	}
	r.takeNothing()
	r.check()
}

func TestAPausedQueueGivesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue().ID
	if err := r.asynq.PauseQueue(queue); err != nil {
		t.Fatal(err)
	}
	r.takeNothing()
	if err := r.asynq.UnpauseQueue(queue); err != nil {
		t.Fatal(err)
	}
	if c := r.take(); c.ID != id {
		t.Errorf("took %s, want %s", c.ID, id)
	}
}

func TestTakeKeepsTheOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ids []string
	for range 5 {
		ids = append(ids, r.enqueue().ID)
	}
	claims, err := r.server("w1").Take(t.Context(), queue, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range claims {
		got = append(got, c.ID)
	}
	if !slices.Equal(got, ids[:3]) {
		t.Errorf("took %v, want %v", got, ids[:3])
	}
	r.requeue(ids[0], "w1", false) // to the head of the queue
	if c := r.take(); c.ID != ids[0] {
		t.Errorf("took %s, want the one that was put back", c.ID)
	}
	r.check()
}

// A claim says whether the vendor may have been called before, also where that counted as
// no attempt, and not if it surely was not.
func TestAClaimSaysWhetherTheVendorWasCalled(t *testing.T) {
	t.Parallel()
	refused := parked("shop:rate", 0)
	refused.Attempt = &record.Attempt{At: time.Now(), Class: "blocked", Status: 429}
	untried := parked("shop:pause", 0)
	for _, tt := range []struct {
		name       string
		redelivery broker.Redelivery
		before     func(r *rig, c *broker.Claim)
		called     bool
	}{
		{"it waited", broker.AtLeastOnce, func(r *rig, c *broker.Claim) { r.end(c, untried) }, false},
		{"the vendor refused it", broker.AtMostOnce, func(r *rig, c *broker.Claim) { r.end(c, refused) }, true},
		{"its worker stopped", broker.AtMostOnce, func(r *rig, c *broker.Claim) { r.requeue(c.ID, "w1", false) }, false},
		{"its worker died before the call", broker.AtMostOnce, func(r *rig, c *broker.Claim) { r.requeue(c.ID, "w1", true) }, false},
		{"its worker died", broker.AtLeastOnce, func(r *rig, c *broker.Claim) { r.requeue(c.ID, "w1", true) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.enqueue(redelivered(tt.redelivery))
			c := r.take()
			if c.Called {
				t.Error("it was called before its first claim")
			}
			tt.before(r, c)
			r.forward("retry")
			if c = r.take(); c.Called != tt.called || c.Attempts != 0 {
				t.Errorf("called %v after %d attempts, want %v and none", c.Called, c.Attempts, tt.called)
			}
		})
	}
}

// A stale claim changes nothing: another worker has the task.
func TestAStaleClaimIsFenced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue(redelivered(broker.AtLeastOnce)).ID
	late := r.start()
	r.requeue(id, "w1", true)
	current := r.takeAs("w2")
	if err := late.End(ended(record.Failed)); !errors.Is(err, record.ErrStale) {
		t.Errorf("the late one's End = %v, want ErrStale", err)
	}
	if err := late.End(again(0)); !errors.Is(err, record.ErrStale) {
		t.Errorf("the late one's retry = %v, want ErrStale", err)
	}
	r.check()
	r.end(current, ended(record.Done))
	if err := late.End(ended(record.Failed)); !errors.Is(err, record.ErrStale) {
		t.Errorf("a second end = %v, want ErrStale", err)
	}
	if got := r.get(id); got.Outcome != record.Done || got.Attempts != 1 {
		t.Errorf("record = %+v", got)
	}
	r.check()
}

// A claim that somebody else has by now cannot start, and nothing is sent.
func TestAStaleClaimDoesNotStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue().ID
	late := r.take()
	r.requeue(id, "w1", false)
	if err := late.Start(t.Context()); !errors.Is(err, record.ErrStale) {
		t.Errorf("Start of what was put back = %v, want ErrStale", err)
	}
	r.takeAs("w2")
	if err := late.Start(t.Context()); !errors.Is(err, record.ErrStale) {
		t.Errorf("Start of what another has = %v, want ErrStale", err)
	}
}

// Requeue leaves alone what the owner that died has not.
func TestRequeueIsFenced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue().ID
	r.takeAs("w2")
	for _, owner := range []string{"w1", ""} {
		if moved, err := r.server("judge").Requeue(t.Context(), queue, id, owner, true); moved || err != nil {
			t.Errorf("what w2 has was taken from %q: %v, %v", owner, moved, err)
		}
	}
	if got := r.get(id); got.State != record.Running {
		t.Errorf("state %s", got.State)
	}
	r.check()
}

// The judge of a dead worker may come late: what has ended stays where it is.
func TestRequeueOfATaskThatHasEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for outcome, want := range map[record.Outcome]string{record.Done: "completed", record.Failed: "archived"} {
		id := r.enqueue().ID
		r.end(r.takeAs("w2"), ended(outcome))
		set := "asynq:{otp}:" + want
		before := r.rdb.ZScore(t.Context(), set, id).Val()
		if _, err := r.server("judge").Requeue(t.Context(), queue, id, "w2", true); err != nil {
			t.Fatal(err)
		}
		r.takeNothing()
		if after := r.rdb.ZScore(t.Context(), set, id).Val(); r.asynqSays(id) != want || after != before {
			t.Errorf("asynq says %s at %v, want %s at %v", r.asynqSays(id), after, want, before)
		}
		r.check()
	}
}

// A plain asynq client's task has no record: it is taken for the worker to decide, and
// adopted under its own ID.
func TestAdopt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	plain := asynq.NewClientFromRedisClient(r.rdb)
	if _, err := plain.Enqueue(asynq.NewTask("a:b", []byte(`{"x":1}`)), asynq.Queue(queue), asynq.TaskID("otp_plain"), asynq.Unique(time.Hour), asynq.MaxRetry(3)); err != nil {
		t.Fatal(err)
	}
	c := r.take()
	if c.Verdict != broker.Unrecorded || !c.Foreign || c.Completed() || c.Usable() != 0 {
		t.Fatalf("claim = %+v", c)
	}
	r.check()
	if err := c.Adopt(sample().Policy, false); err != nil {
		t.Fatal(err)
	}
	r.check()
	if got := r.get("otp_plain"); got.State != record.Pending || got.Type != "a:b" || got.Expires.Sub(got.Due) != time.Minute {
		t.Errorf("record = %+v", got)
	}
	c = r.start()
	if c.Verdict != broker.Run || c.InDoubt {
		t.Errorf("claim = %+v", c)
	}
	r.end(c, ended(record.Done))
	if locks := r.rdb.Keys(t.Context(), "asynq:{otp}:unique:*").Val(); len(locks) != 0 {
		t.Errorf("the unique lock is still taken: %v", locks)
	}
	info, err := r.asynq.GetTaskInfo(queue, "otp_plain")
	if err != nil || info.State != asynq.TaskStateCompleted || info.Retention != time.Hour || info.CompletedAt.IsZero() {
		t.Errorf("asynq's task = %+v, %v", info, err)
	}
	r.check()
}

// Redis has lost the record of a task of ours: the header says how long it is usable.
func TestAdoptWhatRedisLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue(func(j *broker.Job) { j.ExpireAfter = 90 * time.Second }).ID
	r.rdb.Del(t.Context(), record.Key(queue, id))
	c := r.take()
	if c.Verdict != broker.Unrecorded || c.Foreign || c.Usable() != 90*time.Second {
		t.Fatalf("claim = %+v", c)
	}
	if err := c.Adopt(sample(redelivered(broker.Reconciled)).Policy, true); err != nil {
		t.Fatal(err)
	}
	if c = r.take(); !c.InDoubt || c.Lookups != 0 || c.Expires.Sub(c.Due) != 90*time.Second {
		t.Errorf("claim = %+v", c)
	}
	r.check()
}
