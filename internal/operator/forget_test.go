package operator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
)

// forget erases a person and returns what became of each task.
func (f *fixture) forget(subject string) (map[string]operator.Forgotten, error) {
	f.t.Helper()
	all := map[string]operator.Forgotten{}
	order := operator.ForgetOrder{Subject: subject, Reason: "request 17"}
	err := f.Forget(f.t.Context(), order, func(one operator.Forgotten) error {
		all[one.ID] = one
		return nil
	})
	return all, err
}

// found returns the keys of Redis that hold one of the texts, in their names or values.
func (f *fixture) found(texts ...string) []string {
	f.t.Helper()
	var keys []string
	for key, value := range f.dump() {
		for _, text := range texts {
			if strings.Contains(key+value, text) {
				keys = append(keys, key)
				break
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// A person who asks to be erased leaves no payload, result or digest in Redis, not in
// clear and not as what only she has: the passcode that she typed. The off-boarding record
// and the outcomes stand, and nobody else's task is touched.
func TestAPersonIsErased(t *testing.T) {
	t.Parallel()
	f := newFixtureWith(t, "")
	const mail, user = "canary-ana@example.com", "canary-user"
	send := f.enqueue(otp(mail), tasks.Key("login-1"))
	other := f.enqueue(otp("eva@example.com"))
	sent := result(record.Done)
	sent.VendorIDs = []string{"4711"}
	for id, c := range f.take("otp") {
		r := sent
		if id == send {
			r.Data = []byte("canary-result")
		} else {
			r.VendorIDs = []string{"4712"}
		}
		if err := c.End(r); err != nil {
			t.Fatal(err)
		}
	}
	verify := f.enqueue(danaconnect.OTPVerify{IDRequest: "4711", OTP: "canary-99"})
	f.end("otp", record.Declined)
	dead := f.enqueue(otp(mail))
	f.end("otp", record.Failed)
	login := f.enqueue(anna.UserHash{UserID: user})
	leaver := f.enqueue(inactivation(user))
	f.end("anna", record.Done)

	var digests []string
	for _, id := range []string{send, verify, dead, login, leaver} {
		r, err := record.New(f.conn()).Get(t.Context(), id)
		if err != nil || len(r.Digests) == 0 {
			t.Fatalf("%s has the digests %v, %v", id, r.Digests, err)
		}
		digests = append(digests, r.Digests...)
	}
	traces := append(slices.Clone(digests), "canary")
	if n := len(f.found(traces...)); n < 10 {
		t.Fatalf("only %d keys with a trace before: the search misses some", n)
	}
	byMail, err := f.forget(" Canary-Ana@Example.com")
	if err != nil || len(byMail) != 3 || !byMail[send].Erased || !byMail[verify].Erased || !byMail[dead].Erased {
		t.Errorf("%+v, %v", byMail, err)
	}
	if kept := fmt.Sprint(byMail[send].Kept); !strings.Contains(kept, "the digest of its key for 16") {
		t.Errorf("of the send is kept: %s", kept)
	}
	byUser, err := f.forget(user)
	if err != nil || len(byUser) != 2 || !strings.Contains(fmt.Sprint(byUser[leaver].Kept), "off-boarding") {
		t.Errorf("%+v, %v", byUser, err)
	}
	// Without ENCRYPTION_KEYS the off-boarding record names its user in clear.
	if left := f.found(traces...); fmt.Sprint(left) != "[errand:{anna}:audit]" {
		t.Errorf("traces in %v", left)
	}
	entries := 0
	err = record.New(f.conn()).EachAuditEntry(t.Context(), "anna", func(record.AuditEntry) error {
		entries++
		return nil
	})
	if err != nil || entries != 2 {
		t.Errorf("the off-boarding record has %d lines, %v", entries, err)
	}
	for id, want := range map[string]record.Outcome{
		send: record.Done, verify: record.Declined, dead: record.Failed, login: record.Done, leaver: record.Done, other: record.Done,
	} {
		if e := f.explainOne(operator.Question{ID: id}); e.Outcome != want || len(e.Timeline) < 3 {
			t.Errorf("%s: %+v, want %s", id, e, want)
		}
	}
	if e := f.explainOne(operator.Question{Subject: "eva@example.com"}); e.ID != other {
		t.Errorf("the other person's task is not found: %+v", e)
	}
	if again := f.enqueue(otp(mail), tasks.Key("login-1")); again != send {
		t.Error("the key of an erased task is free")
	}
	if _, err := f.forget(mail); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("a second time: %v, want no such task", err)
	}
	for _, a := range f.actions() {
		if a.Verb != "forget" || strings.Contains(fmt.Sprint(a), "canary") || a.Reason != "request 17" {
			t.Errorf("the audit has %+v", a)
		}
	}
	f.check("otp", "anna")
}

// What has not ended is not erased: the command says so, and has erased the rest.
func TestOnlyEndedTasksAreErased(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ended := f.enqueue(otp("ana@example.com"))
	f.end("otp", record.Done)
	running := f.enqueue(otp("ana@example.com"))
	claim := f.take("otp")[running]
	waiting := f.enqueue(otp("ana@example.com"), tasks.In(time.Hour))
	before := f.dump()
	dry := 0
	order := operator.ForgetOrder{Subject: "ana@example.com", DryRun: true}
	if err := f.Forget(t.Context(), order, func(operator.Forgotten) error { dry++; return nil }); err != nil || dry != 3 {
		t.Errorf("dry run: %d, %v", dry, err)
	}
	if fmt.Sprint(before) != fmt.Sprint(f.dump()) {
		t.Error("a dry run has changed something")
	}
	all, err := f.forget("ana@example.com")
	if _, refused := errors.AsType[*operator.RefusedError](err); !refused {
		t.Errorf("%v, want a refusal", err)
	}
	if !all[ended].Erased || all[running].Erased || all[waiting].Erased ||
		!strings.Contains(fmt.Sprint(all[waiting].Kept), "it is scheduled; cancel it") {
		t.Errorf("%+v", all)
	}
	if err := claim.End(result(record.Done)); err != nil {
		t.Fatal(err)
	}
	// A task that ends between the reading and the erasing is erased; one that begins is not.
	if r := f.explainOne(operator.Question{ID: running}); r.Outcome != record.Done {
		t.Errorf("the running task ended %+v", r)
	}
	for _, wrong := range []operator.ForgetOrder{{}, {Subject: " ", Reason: "r"}, {Subject: "ana@example.com"}} {
		err := f.Forget(t.Context(), wrong, nil)
		if _, usage := errors.AsType[*operator.UsageError](err); !usage {
			t.Errorf("%+v: %v, want a usage error", wrong, err)
		}
	}
	f.check("otp")
}

// The erasing itself looks at the task once more: one that is not ended, or another's by
// now, is left alone.
func TestTheErasingLooksAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.enqueue(otp("ana@example.com"))
	r, err := record.New(f.conn()).Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	producer := broker.NewProducer(f.conn(), record.New(f.conn()), nil)
	before := f.dump()
	for digest, want := range map[string]broker.Forgotten{
		r.Digests[0]:       {State: "pending"},
		"0000000000000000": {Gone: true},
	} {
		if got, err := producer.Forget(t.Context(), r, digest); got != want || err != nil {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if fmt.Sprint(before) != fmt.Sprint(f.dump()) {
		t.Error("something has changed")
	}
}
