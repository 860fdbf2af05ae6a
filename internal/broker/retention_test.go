package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// A record has no expiry before its end, and outlives asynq's copy of the task, so that
// no copy is ever run without its record.
func TestARecordOutlivesAsynqsCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for outcome, kept := range map[record.Outcome]time.Duration{
		record.Done:   2 * time.Hour,       // an hour's retention, and one for asynq's janitor
		record.Failed: 91 * 24 * time.Hour, // asynq keeps an archived task 90 days
	} {
		id := r.enqueue().ID
		ttl := func() time.Duration { return r.rdb.PTTL(t.Context(), record.Key(queue, id)).Val() }
		for _, step := range []func(){
			func() {}, func() { r.end(r.start(), again(0)) }, func() { r.forward("retry") },
			func() { r.start() }, func() { r.requeue(id, "w1", false) },
		} {
			step()
			if got := ttl(); got != -1 {
				t.Fatalf("the record of a task that has not ended expires in %v", got)
			}
		}
		result := ended(outcome)
		result.Data = []byte("x")
		r.end(r.take(), result)
		if got := ttl(); got > kept || got < kept-time.Minute {
			t.Errorf("the record of a %s task is kept for %v, want %v", outcome, got, kept)
		}
		if got := r.rdb.PTTL(t.Context(), "errand:{otp}:log:"+id).Val(); got > kept || got < kept-time.Minute {
			t.Errorf("the log is kept for %v, want %v", got, kept)
		}
		if got := r.rdb.PTTL(t.Context(), "errand:{otp}:data:"+id).Val(); got > time.Hour || got < 59*time.Minute {
			t.Errorf("the result is kept for %v, want its retention", got)
		}
		if outcome == record.Done {
			until := time.Unix(int64(r.rdb.ZScore(t.Context(), "asynq:{otp}:completed", id).Val()), 0)
			if left := ttl(); r.now().Add(left).Before(until.Add(30 * time.Minute)) {
				t.Errorf("the record ends in %v, asynq's copy at %v", left, until)
			}
		}
	}
	r.check()
}

// A task that has ended well never runs again: its payload goes with its end. A dead
// letter keeps it, for a replay.
func TestThePayloadGoesWithTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, outcome := range record.Outcomes {
		if outcome == record.Cancelled { // asynq's task is deleted
			continue
		}
		id := r.enqueue(func(j *broker.Job) { j.Payload = []byte(`{"mail":"marked"}`) }).ID
		r.end(r.take(), ended(outcome))
		kept := strings.Contains(r.rdb.HGet(t.Context(), "asynq:{otp}:t:"+id, "msg").Val(), "marked")
		if kept != outcome.Archived() {
			t.Errorf("a task that ended %s keeps its payload: %v", outcome, kept)
		}
		info, err := r.asynq.GetTaskInfo(queue, id)
		if err != nil || info.ID != id || info.Queue != queue || info.Type != "a:b" || info.Retention != time.Hour {
			t.Errorf("asynq reads %+v, %v", info, err)
		}
		if done := outcome.Archived(); info.CompletedAt.IsZero() != done {
			t.Errorf("asynq says of a %s task that it was completed at %v", outcome, info.CompletedAt)
		}
	}
	r.check()
}

// What a task takes of Redis, by Redis' own count of its keys: a passcode with a key and a
// sealed payload and result.
func TestTheBytesOfATask(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ring := testRing(t)
	c := r.client()
	job := sample(keyed("k"))
	job.Type = "danaconnect:otp:send"
	job.Payload = []byte(`{"idConversation":4711,"values":[{"key":"MAIL","value":"a@example.com"}],"type":1,"length":6}`)
	job.Policy.Retention, job.Policy.KeyTTL = 24*time.Hour, 7*24*time.Hour
	ticket, err := broker.NewProducer(c, record.New(c), ring).Enqueue(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	bytes := func(keys ...string) (n int64) {
		for _, key := range keys {
			n += r.rdb.MemoryUsage(t.Context(), key).Val()
		}
		return n
	}
	queued := []string{"asynq:{otp}:t:" + ticket.ID, record.Key(queue, ticket.ID), r.theKey()}
	if n := bytes(queued...); n > 950 {
		t.Errorf("queued it takes %d bytes", n)
	}
	claim := r.take()
	result := ended(record.Done)
	result.Attempt.Status, result.Attempt.Took = 200, 123*time.Millisecond
	result.Data = broker.SealResult(ring, claim.Type, claim.ID, []byte(`{"idRequest":"4711","conversationRequestId":"1"}`))
	r.end(claim, result)
	if n := bytes(append(queued, "errand:{otp}:data:"+ticket.ID)...); n > 900 {
		t.Errorf("ended it takes %d bytes", n)
	}
	for _, key := range queued {
		if kind := r.rdb.ObjectEncoding(t.Context(), key).Val(); kind != "listpack" && kind != "ziplist" && kind != "embstr" {
			t.Errorf("%s is kept as a %s", key, kind)
		}
	}
	if n := bytes(r.theKey()); n > 150 {
		t.Errorf("its key takes %d bytes", n)
	}
}

// asynq trims its archive all at once, with a script that fails when too much is due;
// here two at the most leave for one that comes, and their records go soon after.
func TestTheArchiveIsTrimmedInSmallSteps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		size       int
		age        time.Duration
		left, kept int64 // after one, and after ten more
	}{
		{"all too old", 100, 91 * 24 * time.Hour, 99, 89},
		{"not old", 100, 89 * 24 * time.Hour, 101, 111},
		{"too many", 5100, time.Hour, 5099, 5089},
		{"full", 5000, time.Hour, 5000, 5000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			pipe := r.rdb.Pipeline()
			for i := range tc.size {
				id := fmt.Sprintf("otp_old%05d", i)
				pipe.ZAdd(t.Context(), "asynq:{otp}:archived", redis.Z{Score: float64(time.Now().Add(-tc.age).Unix() + int64(i)/100), Member: id})
				pipe.HSet(t.Context(), "asynq:{otp}:t:"+id, "msg", "", "state", "archived")
				pipe.HSet(t.Context(), record.Key(queue, id), "once", "x", "outcome", "failed")
			}
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			archive := func(want int64) {
				t.Helper()
				r.enqueue()
				c := r.take()
				r.end(c, ended(record.Failed))
				if n := r.rdb.ZCard(t.Context(), "asynq:{otp}:archived").Val(); n != want {
					t.Errorf("%d are archived, want %d", n, want)
				}
				if says := r.asynqSays(c.ID); says != "archived" {
					t.Errorf("the newest is %s", says)
				}
			}
			archive(tc.left)
			for i := range int64(10) {
				archive(tc.left + (tc.kept-tc.left)/10*(i+1))
			}
			gone := int64(tc.size) + 11 - tc.kept
			for i := range gone {
				id := fmt.Sprintf("otp_old%05d", i)
				if n := r.rdb.Exists(t.Context(), "asynq:{otp}:t:"+id).Val(); n != 0 {
					t.Errorf("asynq's copy of %s is still there", id)
				}
				if ttl := r.rdb.PTTL(t.Context(), record.Key(queue, id)).Val(); ttl <= 0 || ttl > time.Hour {
					t.Errorf("the record of %s is kept for %v", id, ttl)
				}
			}
		})
	}
}

// What a task costs, counted by Redis: one call for each step, and one take for a batch.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cycle := func(n int) {
		t.Helper()
		for i := range n {
			r.enqueue(keyed(fmt.Sprint("k", i, time.Now().UnixNano())))
		}
		claims, err := r.server("w1").Take(t.Context(), queue, n)
		if err != nil || len(claims) != n {
			t.Fatalf("took %d, %v", len(claims), err)
		}
		for _, c := range claims {
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.end(c, ended(record.Done))
		}
	}
	cycle(1) // Redis learns the scripts, the producer the salt, and asynq's client the queue
	const n = 20
	scripts := r.commands("eval", "evalsha")
	reads := r.reads()
	cycle(n)
	reads = r.reads() - reads - 1 // its own
	scripts = r.commands("eval", "evalsha") - scripts
	if want := int64(n + 1 + n + n); scripts != want || reads != want {
		t.Errorf("%d scripts in %d round trips for %d tasks, want %d", scripts, reads, n, want)
	}
}

// reads counts how often Redis has read from a client: the round trips.
func (r *rig) reads() int64 {
	r.t.Helper()
	info, err := r.rdb.Info(r.t.Context(), "stats").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return statOf(r.t, info, "total_reads_processed:")
}

// A heartbeat of this worker's that fails says nothing about the others.
func TestNobodyIsDeadWhileOwnHeartbeatsFail(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := broker.NewHeart(record.New(r.rdb), "w1")
	dead := func(owner string) bool { return h.Dead(t.Context(), owner) }
	if err := h.Beat(); err != nil {
		t.Fatal(err)
	}
	if dead("w2") {
		t.Error("w2 is dead at the first look")
	}
	h.Age(10*time.Second, false)
	if !dead("w2") {
		t.Error("w2 lives, though it was suspected for long enough")
	}
	h.Age(10*time.Second, true) // no heartbeat of our own for 10 s
	if dead("w2") {
		t.Error("w2 is dead, though we could not have seen it live")
	}
	if err := h.Beat(); err != nil {
		t.Fatal(err)
	}
	if dead("w2") {
		t.Error("the suspicion of before is still there")
	}
	h.Age(10*time.Second, false)
	if err := r.store.Heartbeat(t.Context(), "w2"); err != nil {
		t.Fatal(err)
	}
	if dead("w2") {
		t.Error("w2 is dead, though it has just given a heartbeat")
	}
	if err := r.store.Deregister(t.Context(), "w2"); err != nil {
		t.Fatal(err)
	}
	if dead("w2") {
		t.Error("w2 is dead at the first look after its heartbeat")
	}
	h.Age(10*time.Second, false)
	r.redis.Kill()
	if dead("w2") {
		t.Error("w2 is dead, though Redis could not be asked")
	}
}
