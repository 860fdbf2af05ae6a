package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/alert"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// unconfirmed are the audited tasks that nothing has confirmed.
func (r *rig) unconfirmed() map[string]bool {
	r.t.Helper()
	open := map[string]bool{}
	err := r.store.EachUnconfirmed(r.t.Context(), queue, time.Now().Add(time.Hour), func(id string, _ time.Time) error {
		open[id] = true
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return open
}

// leaver enqueues an inactivation.
func leaver(subject string) func(*broker.Job) {
	return func(j *broker.Job) {
		j.Policy.AuditSubject = subject
		j.Policy.Intent = broker.Intent{Subject: subject, Role: broker.Closes}
	}
}

// A failed inactivation stays unconfirmed until a later one of the same user is done.
func TestALaterSuccessConfirms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	failed := r.enqueue(leaver("u1")).ID
	r.end(r.take(), ended(record.Failed))
	other := r.enqueue(leaver("u2")).ID
	r.end(r.take(), ended(record.Failed))
	if open := r.unconfirmed(); !open[failed] || !open[other] {
		t.Fatalf("unconfirmed: %v", open)
	}
	later := r.enqueue(leaver("u1"), func(j *broker.Job) { j.In = time.Minute }).ID
	r.enqueue(leaver("u1"))
	r.end(r.take(), ended(record.Done))
	if open := r.unconfirmed(); open[failed] || !open[other] || !open[later] || len(open) != 2 {
		t.Errorf("unconfirmed: %v, want the other user's, and the one that has not run yet", open)
	}
	r.check()
}

// However many stay open, each is announced at each age, once, however many workers there
// are and however often they restart; the last time it is taken off.
func TestEveryUnconfirmedTaskIsAnnounced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard := map[string]int{}
	cfg := r.config("w")
	cfg.Alert = func(a alert.Alert) { heard[a.Subject+" "+a.Data["age"]]++ }
	s := r.newServer(cfg)
	const many = 1700 // more than a few pages
	due := func(age time.Duration) float64 { return float64(r.now().Add(-age).UnixMilli()) }
	var open []redis.Z
	for n := range many {
		open = append(open, redis.Z{Score: due(2 * time.Hour), Member: fmt.Sprint(queue, "_t", n)})
	}
	open = append(open, redis.Z{Score: due(31 * 24 * time.Hour), Member: queue + "_aged"})
	if err := r.rdb.ZAdd(t.Context(), "errand:{"+queue+"}:audit:open", open...).Err(); err != nil {
		t.Fatal(err)
	}
	again := r.config("restarted")
	again.Alert = cfg.Alert
	for _, s := range []*broker.Server{s, s, r.newServer(again)} {
		if err := s.AnnounceUnconfirmed(t.Context(), queue); err != nil {
			t.Fatal(err)
		}
	}
	if len(heard) != many+3 {
		t.Errorf("%d announcements, want one for each task, and three for the aged one", len(heard))
	}
	for what, n := range heard {
		if n != 1 {
			t.Errorf("%s was announced %d times", what, n)
		}
	}
	if left := r.unconfirmed(); len(left) != many || left[queue+"_aged"] {
		t.Errorf("%d stay unconfirmed", len(left))
	}
	kept, err := r.store.Announced(t.Context(), queue)
	if err != nil || len(kept) != many || kept[queue+"_t0"] != time.Hour {
		t.Errorf("the ages of %d tasks are kept (%v), want those of the unconfirmed ones", len(kept), err)
	}
}

// The ends that nobody publishes do not stay for ever.
func TestTheOutboxIsTrimmed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue(func(j *broker.Job) { j.Notify = true })
	r.end(r.take(), ended(record.Done))
	old := fmt.Sprintf(`{"type":"t","outcome":"done","ended":%d,"tell":"finished"}`, r.now().Add(-25*time.Hour).UnixMilli())
	if err := r.rdb.HSet(t.Context(), "errand:{"+queue+"}:outbox", "otp_old", old).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.server("w").TrimOutbox(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	left, err := r.store.PendingOutbox(t.Context(), queue, 10)
	if err != nil || len(left) != 1 || left[0].ID == "otp_old" {
		t.Errorf("left: %+v, %v", left, err)
	}
}
