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
	"errand.internal/internal/seal"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dinero"
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

// What is indexed by nobody is read: a free call, a bulk load and an invoice that mention
// the person are erased, in whatever way they do, and those of others are not.
func TestWhatMentionsAPersonIsErased(t *testing.T) {
	t.Parallel()
	f := newFixtureWith(t, "")
	const mail, phone = "canary-ana@example.com", "+45 (12) 34-56-78"
	open, err := seal.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	free := func(path string, body any) dinero.APICall {
		return dinero.APICall{OrganizationID: "1", Method: "POST", Path: path, Body: body}
	}
	hers := map[string]string{
		"a member":         f.enqueue(free("contacts", map[string]any{"Email": "Canary-Ana@Example.com"})),
		"in a sentence":    f.enqueue(free("notes", map[string]any{"Text": "Call Ana <canary-ana@example.com>, please."})),
		"in the path":      f.enqueue(free("contacts/canary-ana@example.com/notes", nil)),
		"deep in a list":   f.enqueue(free("batch", []any{map[string]any{"a": []any{"canary-ana@example.com"}}})),
		"an invoice":       f.enqueue(dinero.InvoiceCreate{Record: dinero.Record{OrganizationID: "1", Body: dinero.Body{"Comment": mail}}}),
		"only in a result": "",
	}
	others := []string{
		f.enqueue(free("contacts", map[string]any{"Email": "eva@example.com"})),
		f.enqueue(free("contacts", map[string]any{"Phone": "12345678"})),
	}
	hers["only in a result"] = f.enqueue(free("contacts", map[string]any{"Name": "?"}))
	for id, c := range f.take("dinero") {
		r := result(record.Failed) // what ended well has no payload any more
		if id == hers["only in a result"] {
			r = result(record.Done)
			answer := []byte(`{"status":200,"body":{"Email":"canary-ana@example.com"}}`)
			r.Data = broker.SealResult(open, c.Type, id, answer)
		}
		if err := c.End(r); err != nil {
			t.Fatal(err)
		}
	}
	erased, err := f.forget(mail)
	if err != nil || len(erased) != len(hers) {
		t.Errorf("%d tasks erased, %v; want %d", len(erased), err, len(hers))
	}
	for how, id := range hers {
		if !erased[id].Erased {
			t.Errorf("%s: %+v", how, erased[id])
		}
	}
	if left := f.found("canary-ana", "Canary-Ana"); len(left) > 0 {
		t.Errorf("traces in %v", left)
	}
	for _, id := range others {
		if payload := f.found(id); len(payload) < 2 {
			t.Errorf("%s of another person is in %v only", id, payload)
		}
	}
	if _, err := f.forget(mail); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("a second time: %v, want no such task", err)
	}
	call := f.enqueue(free("contacts", map[string]any{"Phone": "4512345678"}))
	f.end("dinero", record.Failed)
	if erased, err := f.forget(phone); err != nil || !erased[call].Erased {
		t.Errorf("by the phone: %+v, %v", erased, err)
	}
	f.check("dinero")
}

// Without the keys nobody can say that nothing is left, so the command does not.
func TestWhatCannotBeReadIsReported(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.enqueue(dinero.APICall{OrganizationID: "1", Method: "GET", Path: "contacts"})
	f.end("dinero", record.Failed)
	f.environ["ENCRYPTION_KEYS"] = ""
	f.Operator = f.open()
	erased, err := f.forget("ana@example.com")
	if refused, ok := errors.AsType[*operator.RefusedError](err); !ok || len(erased) != 0 ||
		!strings.Contains(refused.Reason, "cannot be opened: 1;") {
		t.Errorf("%+v, %v", erased, err)
	}
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
