package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// full puts a task of every state into the queue, and returns their IDs by state. Each
// has a key, an own subject, and a place in the audit log.
func (r *rig) full() map[string]string {
	r.t.Helper()
	ids := map[string]string{}
	add := func(state string, role broker.Role, change ...func(*broker.Job)) {
		ids[state] = r.enqueue(append(change, keyed(state), func(j *broker.Job) {
			j.UniqueWhileActive, j.Policy.AuditSubject, j.Notify = state, state, true
			j.Policy.Intent = broker.Intent{Subject: state, Role: role}
		})...).ID
	}
	for state, result := range map[string]broker.Result{
		"completed": ended(record.Done), "archived": ended(record.Unknown),
		"retry": again(time.Hour), "parked": parked("cred", time.Hour),
	} {
		add(state, broker.Closes)
		r.end(r.start(), result)
	}
	add("active", broker.Opens)
	r.start()
	add("pending", broker.Opens)
	add("scheduled", broker.Closes, func(j *broker.Job) { j.In = time.Hour })
	for state, id := range ids {
		if says := r.asynqSays(id); says != state && state != "parked" {
			r.t.Fatalf("the %s task is %s", state, says)
		}
	}
	return ids
}

// Each disagreement that is seeded is found, and called by its name; nothing else is.
func TestCheckFindsEachDisagreement(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const asynqs = "asynq:{otp}:"
	task := func(id string) string { return asynqs + "t:" + id }
	rec := func(id string) string { return record.Key(queue, id) }
	for _, tc := range []struct {
		name  string
		state string // of the task
		seed  func(r *rig, id string)
		words []string
	}{
		{
			"out of its list", "pending", func(r *rig, id string) { r.rdb.LRem(ctx, asynqs+"pending", 0, id) },
			[]string{"asynq says pending, and it is not in that list"},
		},
		{
			"out of its set", "scheduled", func(r *rig, id string) { r.rdb.ZRem(ctx, asynqs+"scheduled", id) },
			[]string{"asynq says scheduled, and it is not in that list"},
		},
		{
			"in a second list", "completed", func(r *rig, id string) { r.rdb.LPush(ctx, asynqs+"pending", id) },
			[]string{"it is in the list pending, and asynq says completed"},
		},
		{
			"no message", "retry", func(r *rig, id string) { r.rdb.HDel(ctx, task(id), "msg") },
			[]string{"asynq's task has no message"},
		},
		{
			"no record", "pending", func(r *rig, id string) { r.rdb.Del(ctx, rec(id)) },
			[]string{"a task of ours has no record"},
		},
		{
			"no record of one that is done", "completed", func(r *rig, id string) { r.rdb.Del(ctx, rec(id)) },
			[]string{"a task of ours has no record"},
		},
		{
			"no record of one that has ended", "archived", func(r *rig, id string) { r.rdb.Del(ctx, rec(id)) },
			[]string{"a task of ours has no record"},
		},
		{
			"nothing written once", "scheduled", func(r *rig, id string) { r.rdb.HDel(ctx, rec(id), "once") },
			[]string{"the record does not say what was written once"},
		},
		{
			"active and nobody's", "active", func(r *rig, id string) { r.rdb.HDel(ctx, rec(id), "owner") },
			[]string{"asynq says active, the record names no owner", "it locks its subject and does not run"},
		},
		{
			"owned and not active", "pending", func(r *rig, id string) { r.rdb.HSet(ctx, rec(id), "owner", "w9") },
			[]string{"asynq says pending, the record names the owner w9"},
		},
		{
			"owned and to run again", "retry", func(r *rig, id string) { r.rdb.HSet(ctx, rec(id), "owner", "w9") },
			[]string{"asynq says retry, the record names the owner w9", "it runs and waits"},
		},
		{
			"ended otherwise", "archived", func(r *rig, id string) { r.rdb.HSet(ctx, rec(id), "outcome", "superseded") },
			[]string{"it ended superseded, and asynq says archived", "its key says unknown of its outcome"},
		},
		{
			"ended and still scheduled", "completed", func(r *rig, id string) {
				r.rdb.ZRem(ctx, asynqs+"completed", id)
				r.rdb.ZAdd(ctx, asynqs+"retry", redis.Z{Score: 1, Member: id})
				r.rdb.HSet(ctx, task(id), "state", "retry")
			},
			[]string{"it ended done, and asynq says retry"},
		},
		{
			"kept for ever", "completed", func(r *rig, id string) { r.rdb.Persist(ctx, rec(id)) },
			[]string{"the record of an ended task is kept for ever"},
		},
		{
			"ended and to run again", "completed", func(r *rig, id string) { r.rdb.HSet(ctx, rec(id), "next", 1) },
			[]string{"an ended task is to run again"},
		},
		{
			"asynq lost it", "parked", func(r *rig, id string) { r.rdb.Del(ctx, task(id)); r.rdb.ZRem(ctx, asynqs+"retry", id) },
			[]string{"it has not ended, and asynq has no such task", "it is to run again, and asynq says "},
		},
		{
			"its end is lost", "archived", func(r *rig, id string) { r.rdb.HDel(ctx, rec(id), "outcome"); r.rdb.Persist(ctx, rec(id)) },
			[]string{
				"it has not ended, and asynq says archived", "the key of a task that has not ended expires",
				"it keeps others of its subject away, or does not",
			},
		},
		{
			"a record that expires", "pending", func(r *rig, id string) { r.rdb.Expire(ctx, rec(id), time.Hour) },
			[]string{"the record of a task that has not ended expires"},
		},
		{
			"nobody wakes it", "parked", func(r *rig, id string) { r.rdb.SRem(ctx, "errand:{otp}:parked:cred", id) },
			[]string{"nobody would wake it"},
		},
		{
			"another's key", "scheduled", func(r *rig, id string) { r.rdb.Set(ctx, r.keyOf(id), "otp_other -", 0) },
			[]string{"its key is not its own"},
		},
		{
			"a key that expires", "active", func(r *rig, id string) { r.rdb.Expire(ctx, r.keyOf(id), time.Hour) },
			[]string{"the key of a task that has not ended expires"},
		},
		{
			"a key without an outcome", "completed", func(r *rig, id string) { r.rdb.Set(ctx, r.keyOf(id), id+" -", 0) },
			[]string{"its key says nothing of its outcome"},
		},
		{
			"its subject is free", "retry", func(r *rig, id string) { r.rdb.Del(ctx, r.aloneOf(id)) },
			[]string{"it keeps others of its subject away, or does not"},
		},
		{
			"its subject is still taken", "completed", func(r *rig, id string) {
				digest := strings.Fields(r.field(id, "once"))[7]
				r.rdb.Set(ctx, "errand:{otp}:alone:"+digest, id, 0)
			},
			[]string{"it keeps others of its subject away, or does not"},
		},
		{
			"it locks its subject", "pending", func(r *rig, id string) {
				r.rdb.HSet(ctx, "errand:{otp}:intent:"+strings.Fields(r.field(id, "once"))[5], "runner", id)
			},
			[]string{"it locks its subject and does not run"},
		},
		{
			"unconfirmed and not listed", "pending", func(r *rig, id string) { r.rdb.ZRem(ctx, "errand:{otp}:audit:open", id) },
			[]string{"it is not among the unconfirmed"},
		},
		{
			"confirmed and listed", "completed", func(r *rig, id string) {
				r.rdb.ZAdd(ctx, "errand:{otp}:audit:open", redis.Z{Score: 1, Member: id})
			},
			[]string{"it is still among the unconfirmed"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			ids := r.full()
			r.check() // healthy
			id := ids[tc.state]
			tc.seed(r, id)
			found, err := broker.Check(t.Context(), r.rdb, queue)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, words := range tc.words {
				want = append(want, id+": "+words)
			}
			slices.Sort(found)
			slices.Sort(want)
			if !slices.Equal(found, want) {
				t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(found, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

// keyOf is the producer's key of a task, in Redis.
func (r *rig) keyOf(id string) string {
	return "errand:{otp}:key:" + strings.Fields(r.field(id, "once"))[4]
}

// aloneOf is the subject's key of a task that is alone while it is active.
func (r *rig) aloneOf(id string) string {
	return "errand:{otp}:alone:" + strings.Fields(r.field(id, "once"))[7]
}

// The checker is silent while healthy traffic goes on.
func TestCheckDuringTraffic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.full()
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	const most = 300 // each is looked at each time, so that more take longer
	var tasks atomic.Int32
	loop := func(do func() error) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil && !errors.Is(err, redis.Nil) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 2 {
		producer := r.newProducer()
		loop(func() error {
			if n := tasks.Add(1); n <= most {
				return someJob(producer, n)
			}
			return redis.Nil
		})
		owner := fmt.Sprint("w", 5+i)
		worker := r.server(owner)
		loop(func() error {
			claims, err := worker.Take(context.Background(), queue, 1+rand.IntN(3))
			for _, c := range claims {
				err = errors.Join(err, someEnd(worker, owner, c))
			}
			return err
		})
	}
	helper := r.server("w7")
	loop(func() error {
		_, a := helper.Wake(context.Background(), queue, "cred", 4)
		_, b := helper.Forward(context.Background(), queue)
		return errors.Join(a, b)
	})
	for tasks.Load() < most && !t.Failed() {
		r.check()
	}
	r.check()
}

// someJob enqueues one of many kinds of task, and cancels some.
func someJob(p *broker.Producer, n int32) error {
	j := sample()
	j.Policy.Redelivery = broker.Redelivery(n % 3)
	j.Policy.Retention = time.Minute
	if n%2 == 0 {
		j.Key = fmt.Sprint("k", n/4)
	}
	if n%3 == 0 {
		j.In = time.Duration(n%7) * time.Millisecond
	}
	if n%5 == 0 {
		j.Policy.Intent = broker.Intent{Subject: fmt.Sprint(n % 4), Role: []broker.Role{broker.Opens, broker.Closes}[n%2]}
		j.Policy.AuditSubject = fmt.Sprint(n % 4)
	}
	if n%7 == 0 {
		j.UniqueWhileActive, j.Notify = fmt.Sprint(n%3), true
	}
	ticket, err := p.Enqueue(context.Background(), j)
	if errors.Is(err, record.ErrAlreadyActive) {
		return nil
	}
	if err == nil && n%6 == 0 {
		err = p.Cancel(context.Background(), ticket.ID)
		if _, started := errors.AsType[*record.StartedError](err); started || errors.Is(err, record.ErrNotFound) {
			err = nil
		}
	}
	return err
}

// someEnd settles a claim in one of many ways.
func someEnd(s *broker.Server, owner string, c *broker.Claim) error {
	n := rand.IntN(12)
	if n > 3 {
		if err := c.Start(context.Background()); err != nil {
			return err
		}
	}
	switch n {
	case 0:
		return c.End(parked("cred", time.Millisecond))
	case 1, 4:
		_, err := s.Requeue(context.Background(), queue, c.ID, owner, n == 4)
		return err
	case 2, 5, 6:
		return c.End(again(time.Duration(n) * time.Millisecond))
	case 7:
		return c.End(ended(record.Failed))
	case 8:
		return c.End(ended(record.Unknown))
	}
	return c.End(ended(record.Done))
}
