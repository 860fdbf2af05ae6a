package broker_test

import (
	"errors"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
)

// A failover lost a claim: its worker writes it again.
func TestAForgottenClaimStandsAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue().ID
	before := r.snapshot()
	c := r.start()
	r.forget(before)
	for range 2 { // its reply may be lost
		if err := r.server("w1").Reclaim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		r.check()
	}
	r.takeNothing()
	if got := r.get(id); got.State != record.Running {
		t.Errorf("record = %+v", got)
	}
	r.end(c, ended(record.Done))
	r.check()
}

// The failover lost the whole task.
func TestAClaimOnATaskThatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := r.snapshot()
	id := r.enqueue(redelivered(broker.Reconciled)).ID
	r.start()
	r.requeue(id, "w1", true)
	c := r.start()
	r.forget(before)
	if err := r.server("w1").Reclaim(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r.check()
	got := r.get(id)
	if got.State != record.Running || got.Type != "a:b" || !got.Due.Equal(c.Due) || !got.Expires.Equal(c.Expires) {
		t.Errorf("record = %+v", got)
	}
	r.takeNothing()
	r.requeue(id, "w1", true) // now this worker dies, too
	if c = r.take(); !c.InDoubt || c.Verdict != broker.Run || string(c.Payload) == "" {
		t.Errorf("claim = %+v", c)
	}
	r.check()
}

// Another worker took the task meanwhile: it ran twice, and only one may go on.
func TestAForgottenClaimThatAnotherHas(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		started bool
		stands  bool
	}{
		{"whose call may have left", true, false},
		{"whose call has surely not left", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.enqueue().ID
			before := r.snapshot()
			mine := r.start()
			r.forget(before)
			theirs := r.takeAs("w2") // with the same number, and another nonce
			if tc.started {
				if err := theirs.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.server("w1").Reclaim(t.Context(), mine); err != nil {
				t.Fatal(err)
			}
			r.check()
			want := "w2"
			if tc.stands {
				want = "w1"
				if err := theirs.Start(t.Context()); !errors.Is(err, record.ErrStale) {
					t.Errorf("the other one's Start: %v", err)
				}
			}
			if owner := r.field(id, "owner"); owner != want {
				t.Errorf("the owner is %s, want %s", owner, want)
			}
		})
	}
}

// What is written about a claim that Redis has forgotten, while another worker has the
// task by now.
func TestAForgottenClaimEndsBesideAnother(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		started bool
		result  broker.Result
		stale   bool
	}{
		{"a pause beside a running call", true, again(0), true},
		{"a pause beside a claim that has not started", false, again(time.Hour), false},
		{"an end beside a running call", true, ended(record.Done), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.enqueue(keyed("k")).ID
			before := r.snapshot()
			mine := r.start()
			r.forget(before)
			theirs := r.takeAs("w2")
			if tc.started {
				if err := theirs.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			err := r.server("w1").WriteEnd(t.Context(), mine, tc.result)
			if errors.Is(err, record.ErrStale) != tc.stale || err != nil && !tc.stale {
				t.Fatalf("written: %v", err)
			}
			r.check()
			if tc.stale {
				r.end(theirs, ended(record.Done))
				if err := r.server("w1").WriteEnd(t.Context(), mine, ended(record.Failed)); !errors.Is(err, record.ErrStale) {
					t.Errorf("after the other's end: %v", err)
				}
			} else if err := theirs.Start(t.Context()); !tc.started && !errors.Is(err, record.ErrStale) {
				t.Errorf("the other's Start: %v", err)
			} else if err := theirs.End(ended(record.Failed)); tc.started && !errors.Is(err, record.ErrStale) {
				t.Errorf("the other's end: %v", err)
			}
			r.check()
			if got := r.get(id); tc.started && got.Outcome != record.Done {
				t.Errorf("record = %+v", got)
			}
		})
	}
}

// A claim of a later take is newer, whatever an older one says.
func TestAnOldClaimDoesNotReplaceANewerOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue(redelivered(broker.AtLeastOnce)).ID
	old := r.start()
	r.requeue(id, "w1", false)
	current := r.takeAs("w2")
	if err := r.server("w1").Reclaim(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if owner := r.field(id, "owner"); owner != "w2" {
		t.Errorf("the owner is %s", owner)
	}
	if err := r.server("w1").WriteEnd(t.Context(), old, ended(record.Failed)); !errors.Is(err, record.ErrStale) {
		t.Errorf("its end: %v", err)
	}
	r.end(current, ended(record.Done))
	if err := r.server("w1").Reclaim(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if got := r.get(id); got.Outcome != record.Done {
		t.Errorf("record = %+v", got)
	}
	r.check()
}

// The replay of a claim may come just after its own result: that stands.
func TestAClaimIsNotReplayedOverItsOwnResult(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]broker.Result{
		"retry": again(time.Hour), "parked": parked("cred", time.Hour), "done": ended(record.Done),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.enqueue().ID
			c := r.start()
			r.end(c, result)
			before := r.asynqSays(id)
			if err := r.server("w1").Reclaim(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if owner := r.field(id, "owner"); owner != "" || r.asynqSays(id) != before {
				t.Errorf("it belongs to %q, and asynq says %s", owner, r.asynqSays(id))
			}
			r.check()
		})
	}
}

// A forgotten end is written again: onto an older record, and where all is gone.
func TestAForgottenEndIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, prep := range map[string]func(r *rig) (claim *broker.Claim, before snapshot){
		"the take is forgotten, too": func(r *rig) (*broker.Claim, snapshot) {
			before := r.snapshot()
			return r.start(), before
		},
		"the end only": func(r *rig) (*broker.Claim, snapshot) {
			c := r.start()
			return c, r.snapshot()
		},
		"all": func(r *rig) (*broker.Claim, snapshot) { return r.start(), nil },
		"the task was parked before": func(r *rig) (*broker.Claim, snapshot) {
			r.end(r.take(), parked("cred", time.Hour))
			before := r.snapshot()
			r.forward("retry")
			return r.start(), before
		},
	} {
		for what, result := range map[string]broker.Result{
			"end": ended(record.Done), "dead": ended(record.Unknown), "retry": again(time.Hour), "parked": parked("other", time.Hour),
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				id := r.enqueue(keyed("login-1")).ID
				c, before := prep(r)
				r.end(c, result)
				want, set := r.get(id), r.asynqSays(id)
				r.forget(before)
				for range 2 {
					if err := r.server("w1").WriteEnd(t.Context(), c, result); err != nil {
						t.Fatal(err)
					}
					r.check()
				}
				got := r.get(id)
				if got.State != want.State || got.Outcome != want.Outcome || got.Attempts != want.Attempts || got.Type != want.Type ||
					got.Message != want.Message || !got.Due.Equal(want.Due) || r.asynqSays(id) != set {
					t.Errorf("record = %+v, asynq says %s; want %+v, %s", got, r.asynqSays(id), want, set)
				}
				if got.State != record.Ended {
					return
				}
				if second := r.enqueue(keyed("login-1")); before != nil && (!second.Duplicate || second.ID != id) {
					t.Errorf("the key makes another task: %+v", second)
				}
			})
		}
	}
}

// A lost key is the task's again once the task is written, and for its whole time. If all is
// gone, the salt too, that holds for who asks with the same salt, as a producer that lives
// on does.
func TestAKeyComesBackWithItsTask(t *testing.T) {
	t.Parallel()
	all := func(r *rig) { r.forget(nil) }
	held := func(r *rig, c *broker.Claim) error {
		result := ended(record.Done)
		result.HoldKey = true
		return r.server("w1").WriteEnd(r.t.Context(), c, result)
	}
	for _, tc := range []struct {
		name  string
		lose  func(r *rig)
		write func(r *rig, c *broker.Claim) error
	}{
		{"with its end", all, held},
		{"alone, with its end", func(r *rig) { r.do("DEL", r.theKey()) }, held},
		{"with its claim", all, func(r *rig, c *broker.Claim) error {
			if err := r.server("w1").Reclaim(r.t.Context(), c); err != nil {
				return err
			}
			if ttl := r.rdb.PTTL(r.t.Context(), r.theKey()).Val(); ttl != -1 {
				r.t.Errorf("while the task runs its key expires in %v", ttl)
			}
			return c.End(ended(record.Done))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			const kept = 90 * 24 * time.Hour // as a create's
			job := func(j *broker.Job) { j.Key, j.Policy.KeyTTL = "invoice-1", kept }
			id := r.enqueue(job).ID
			c := r.start()
			tc.lose(r)
			if err := tc.write(r, c); err != nil {
				t.Fatal(err)
			}
			if second := r.enqueue(job); !second.Duplicate || second.ID != id {
				t.Errorf("the key makes another task: %+v", second)
			}
			if left := r.rdb.PTTL(t.Context(), r.theKey()).Val(); left > kept || left < kept-time.Minute {
				t.Errorf("the key is kept for %v, want %v", left, kept)
			}
		})
	}
}

// Redis lost the record while the vendor was called; the task goes on with the one
// that the result wrote.
func TestARecordLostDuringTheCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.enqueue(redelivered(broker.AtLeastOnce)).ID
	c := r.start()
	r.rdb.Del(t.Context(), record.Key(queue, id))
	r.end(c, again(0))
	r.check()
	r.forward("retry")
	c = r.start()
	if c.Attempts != 1 || c.Verdict != broker.Run {
		t.Errorf("claim = %+v", c)
	}
	r.end(c, ended(record.Done))
	if got := r.get(id); got.Outcome != record.Done || len(got.History) != 2 || got.Type != "a:b" {
		t.Errorf("record = %+v", got)
	}
	r.check()
}

// A failover has the worker replay what it runs and what it has just ended, and no
// task that must not run twice starts until the others have done so, too.
func TestReplayAfterAFailover(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	running, done, repeatable := r.enqueue().ID, r.enqueue().ID, r.enqueue(redelivered(broker.AtLeastOnce)).ID
	before := r.snapshot()
	open := r.start()
	closed := r.start()
	r.end(r.take(), ended(record.Done))
	r.end(closed, ended(record.Done))
	r.forget(before)
	s := r.server("w1")
	if n := s.Remembered(); n != 2 {
		t.Errorf("%d claims are remembered, want the two that must not run twice", n)
	}
	replayed := time.Now()
	s.Replay()
	testwait.Eventually(t, testwait.Limit, "both claims are there", func() bool {
		return r.get(running).State == record.Running && r.get(done).State == record.Ended
	})
	r.check()
	c := r.take() // the end that may be forgotten
	if c.ID != repeatable {
		t.Errorf("took %s", c.ID)
	}
	next := r.enqueue()
	c = r.take()
	began := time.Now()
	if err := c.Start(t.Context()); err != nil || c.ID != next.ID {
		t.Error(err)
	}
	if waited := time.Since(began); waited < 3*time.Second || waited > 7*time.Second {
		t.Errorf("the next task waited %v, want about 5 s", waited)
	}
	if waited := time.Since(replayed); waited < 5*time.Second {
		t.Errorf("the next task started %v after the replay began, want 5 s and more", waited)
	}
	r.end(open, ended(record.Done))
	r.check()
}
