package broker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
)

func about(subjects ...string) func(*broker.Job) {
	return func(j *broker.Job) { j.Policy.Subjects = subjects }
}

// bySubject returns the IDs of the tasks about a subject.
func (r *rig) bySubject(subject string) []string {
	r.t.Helper()
	found, err := r.store.BySubject(r.t.Context(), queue, subject)
	if err != nil {
		r.t.Fatal(err)
	}
	return ids(found)
}

func ids(records []*record.Record) []string {
	found := []string{}
	for _, r := range records {
		found = append(found, r.ID)
	}
	slices.Sort(found)
	return found
}

// A task is found by each of its subjects however they are written, from the moment it
// is stored until its record expires, and no subject is in Redis in clear.
func TestATaskIsFoundByItsSubjects(t *testing.T) {
	t.Parallel()
	r := newRig(t, redistest.Config("rdbcompression", "no"))
	first := r.enqueue(about("Ana@Example.com", "+34 600-123-456"))
	second := r.enqueue(about("ana@example.com"), func(j *broker.Job) { j.In = 400 * 24 * time.Hour })
	third := r.enqueue(about("ana@example.com"), func(j *broker.Job) { j.In = 10 * 24 * time.Hour })
	other := r.enqueue(about("eva@example.com"))
	for subject, want := range map[string][]string{
		" ana@example.COM": { //nolint:gocritic // as it was pasted
			first.ID, second.ID, third.ID,
		},
		"34600123456":     {first.ID},
		"eva@example.com": {other.ID},
		"bob@example.com": {},
	} {
		slices.Sort(want)
		if got := r.bySubject(subject); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q leads to %v, want %v", subject, got, want)
		}
	}
	for _, key := range r.rdb.Keys(t.Context(), "*").Val() {
		dump := key + r.rdb.Dump(t.Context(), key).Val()
		if strings.Contains(dump, "example") || strings.Contains(dump, "600123456") {
			t.Errorf("%s holds a subject in clear", key)
		}
	}
	r.check()
}

// A dead letter is found as long as its record is kept, and a record that is gone is not
// found though the index still has its entry.
func TestTheIndexOutlivesNoRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ticket := r.enqueue(about("ana@example.com"))
	r.end(r.take(), ended(record.Failed))
	var longest time.Duration
	for _, key := range r.rdb.Keys(t.Context(), "errand:{otp}:index:*").Val() {
		ttl := r.rdb.PTTL(t.Context(), key).Val()
		if ttl <= 0 {
			t.Errorf("%s never expires", key)
		}
		longest = max(longest, ttl)
	}
	kept := r.rdb.PTTL(t.Context(), record.Key(queue, ticket.ID)).Val()
	if longest < kept || longest > kept+25*time.Hour {
		t.Errorf("the record is kept for %s, its entry for %s", kept, longest)
	}
	if got := r.bySubject("ana@example.com"); fmt.Sprint(got) != fmt.Sprint([]string{ticket.ID}) {
		t.Errorf("found %v, want it once", got)
	}
	r.rdb.Del(t.Context(), record.Key(queue, ticket.ID))
	if got := r.bySubject("ana@example.com"); len(got) != 0 {
		t.Errorf("found %v, whose record is gone", got)
	}
}

// A task is found by the vendor's IDs in its result, and the one that names the same ID
// in its payload with it.
func TestATaskIsFoundByTheVendorsIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	send := r.enqueue()
	result := ended(record.Done)
	result.VendorIDs = []string{"4711", "c-1", ""}
	r.end(r.take(), result)
	verify := r.enqueue(func(j *broker.Job) { j.Policy.VendorIDs = []string{"4711"} })
	for id, want := range map[string][]string{
		"4711": {send.ID, verify.ID},
		"c-1":  {send.ID},
		"":     {},
	} {
		slices.Sort(want)
		found, err := r.store.ByVendorID(t.Context(), queue, id)
		if got := ids(found); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q leads to %v, %v; want %v", id, got, err, want)
		}
	}
	if got := r.bySubject("4711"); len(got) != 0 {
		t.Errorf("an ID of the vendor's is taken for a subject: %v", got)
	}
	r.check()
}

// A task without a subject writes nothing for the index.
func TestATaskWithoutASubjectCostsNothingMore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue()
	r.end(r.take(), ended(record.Done))
	if keys := r.rdb.Keys(t.Context(), "errand:{otp}:index:*").Val(); len(keys) != 0 {
		t.Errorf("the index has %v", keys)
	}
	if n := r.commands("rpush", "pexpireat"); n != 0 {
		t.Errorf("%d commands for the index", n)
	}
}

// An adopted task is found by its subject, too.
func TestAnAdoptedTaskIsFoundByItsSubject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.plain()
	c := r.take()
	policy := sample(about("ana@example.com")).Policy
	if err := c.Adopt(policy, false); err != nil {
		t.Fatal(err)
	}
	if got := r.bySubject("ana@example.com"); len(got) != 1 || got[0] != c.ID {
		t.Errorf("found %v, want %s", got, c.ID)
	}
}

// A key leads to its task, and to the outcome once the record is gone.
func TestATaskIsFoundByItsKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ticket := r.enqueue(keyed("order-1"))
	r.end(r.take(), ended(record.Done))
	r.rdb.Del(t.Context(), record.Key(queue, ticket.ID))
	if id, o, err := r.store.ByKey(t.Context(), queue, "a:b", "order-1"); id != ticket.ID || o != record.Done || err != nil {
		t.Errorf("the key leads to %s, %s, %v", id, o, err)
	}
	if _, _, err := r.store.ByKey(t.Context(), queue, "a:c", "order-1"); err == nil {
		t.Error("the key of another type leads to a task")
	}
}

// What a task waited for, since when and how often stays in its record.
func TestARecordSaysWhatTheTaskWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ticket := r.enqueue()
	for _, name := range []string{"a rate", "cred"} {
		wait := parked("", time.Millisecond)
		wait.WaitsFor = name
		r.end(r.take(), wait)
		r.forward("retry")
	}
	r.end(r.take(), ended(record.Done))
	got := r.get(ticket.ID)
	if got.WaitedFor != "cred" || got.Waits != 2 || got.WaitedSince.IsZero() {
		t.Errorf("waited %d times since %s for %q", got.Waits, got.WaitedSince, got.WaitedFor)
	}
	r.check()
}

// Every record is visited, page by page.
func TestEveryRecordIsVisited(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := map[string]bool{}
	for range 1200 {
		want[r.enqueue().ID] = true
	}
	err := r.store.EachRecord(context.Background(), queue, func(rec *record.Record) error {
		if rec.Type != "a:b" || rec.State != record.Pending {
			t.Errorf("visited %+v", rec)
		}
		delete(want, rec.ID)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%d records not visited, %v", len(want), err)
	}
}
