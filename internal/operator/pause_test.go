package operator_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
)

// No worker takes a task of a paused queue; other queues go on. The pause ends by itself,
// or when it is resumed, and explain and audit say who paused it and why.
func TestAPausedQueueStartsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.enqueue(otp("ana@example.com"))
	text, err := f.Pause(t.Context(), operator.PauseOrder{Target: "otp", For: 30 * time.Minute, Reason: "the vendor moves"})
	if err != nil || !strings.Contains(text, "until 20") {
		t.Fatalf("%q, %v", text, err)
	}
	if claims := f.take("otp"); len(claims) != 0 {
		t.Errorf("a paused queue gave %v", claims)
	}
	f.enqueue(inactivation("u1"))
	if claims := f.take("anna"); len(claims) != 1 {
		t.Errorf("another queue gave %v", claims)
	}
	e := f.explainOne(operator.Question{ID: id})
	if !strings.Contains(e.Do, "the vendor moves") || !strings.Contains(e.Do, "worker resume otp") {
		t.Errorf("explain says %q", e.Do)
	}
	for _, key := range []string{"asynq:{otp}:paused", "errand:{otp}:pause"} {
		if ttl := f.conn().PTTL(t.Context(), key).Val(); ttl < 29*time.Minute || ttl > 30*time.Minute {
			t.Errorf("%s expires in %s", key, ttl)
		}
	}
	f.conn().Del(t.Context(), "asynq:{otp}:paused", "errand:{otp}:pause") // its time is up
	if claims := f.take("otp"); len(claims) != 1 {
		t.Errorf("the queue gave %v after its pause", claims)
	}
	if _, err := f.Pause(t.Context(), operator.PauseOrder{Target: "otp", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if ttl := f.conn().PTTL(t.Context(), "asynq:{otp}:paused").Val(); ttl != -1 {
		t.Errorf("a pause without an end expires in %s", ttl)
	}
	if _, err := f.Resume(t.Context(), operator.PauseOrder{Target: "otp"}); err != nil {
		t.Fatal(err)
	}
	f.enqueue(otp("ana@example.com"))
	if claims := f.take("otp"); len(claims) != 1 {
		t.Errorf("the queue gave %v after its resumption", claims)
	}
	var verbs []string
	for _, a := range f.actions() {
		verbs = append(verbs, a.Verb+" "+a.Target+" "+a.Reason)
	}
	if fmt.Sprint(verbs) != "[pause the queue otp the vendor moves pause the queue otp r resume the queue otp ]" {
		t.Errorf("the audit has %q", verbs)
	}
}

// A pause of what does not exist, without a reason, or a resumption of what is not paused
// is refused with a sentence, and changes nothing.
func TestAWrongPauseIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.dump()
	for _, order := range []operator.PauseOrder{
		{Target: "opt", Reason: "r"},
		{Target: "danaconnect:otp", Reason: "r", Account: true},
		{Target: "otp", Reason: "r", Account: true},
		{Target: "otp"},
		{Target: "otp", Reason: "r", For: -time.Minute},
	} {
		_, err := f.Pause(t.Context(), order)
		if _, usage := errors.AsType[*operator.UsageError](err); !usage {
			t.Errorf("%+v: %v, want a usage error", order, err)
		}
	}
	if _, err := f.Pause(t.Context(), operator.PauseOrder{Target: "otp", Reason: "r", DryRun: true}); err != nil {
		t.Error(err)
	}
	_, err := f.Resume(t.Context(), operator.PauseOrder{Target: "otp"})
	if _, refused := errors.AsType[*operator.RefusedError](err); !refused {
		t.Errorf("%v, want a refusal", err)
	}
	if fmt.Sprint(before) != fmt.Sprint(f.dump()) {
		t.Error("something has changed")
	}
}

// An account has a name of its own, which a queue may have too. A pause of what is paused
// says what it replaces, and whoever resumes the wrong one is told which is paused.
func TestAPauseOfAnAccountByItsName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	store := record.New(f.conn())
	if err := store.RegisterAccounts(t.Context(), []string{"anna", "danaconnect-otp"}); err != nil {
		t.Fatal(err)
	}
	pause := func(order operator.PauseOrder, want ...string) {
		t.Helper()
		order.Reason = "the vendor moves"
		text, err := f.Pause(t.Context(), order)
		for _, w := range want {
			if err != nil || !strings.Contains(text, w) {
				t.Errorf("%q, %v; want %q", text, err, w)
			}
		}
	}
	resume := func(order operator.PauseOrder, want string) {
		t.Helper()
		text, err := f.Resume(t.Context(), order)
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
	paused := func() string {
		t.Helper()
		all, err := store.PausedAccounts(t.Context(), "anna", "danaconnect-otp")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(slices.Sorted(maps.Keys(all)))
	}
	pause(operator.PauseOrder{Target: "danaconnect-otp", For: time.Hour}, "danaconnect-otp: paused by ", " until 20")
	pause(operator.PauseOrder{Target: "danaconnect-otp"}, "it was paused by ", " until 20", "(the vendor moves) before")
	if ttl := f.conn().PTTL(t.Context(), record.AccountPauseKey("danaconnect-otp")).Val(); ttl != -1 {
		t.Errorf("a pause without an end expires in %s", ttl)
	}
	pause(operator.PauseOrder{Target: "anna"}, "calls of the account anna from other queues go on")
	if got := paused(); got != "[danaconnect-otp]" {
		t.Errorf("paused are the accounts %s", got)
	}
	resume(operator.PauseOrder{Target: "anna", Account: true}, "the account anna is not paused")
	pause(operator.PauseOrder{Target: "anna", Account: true}, "anna: paused by ")
	if got := paused(); got != "[anna danaconnect-otp]" {
		t.Errorf("paused are the accounts %s", got)
	}
	resume(operator.PauseOrder{Target: "anna"}, "anna: resumed")
	resume(operator.PauseOrder{Target: "anna"}, "the queue anna is not paused; the account is: worker resume anna --account")
	resume(operator.PauseOrder{Target: "anna", Account: true}, "anna: resumed")
	resume(operator.PauseOrder{Target: "danaconnect-otp"}, "danaconnect-otp: resumed")
	if got := paused(); got != "[]" {
		t.Errorf("paused are the accounts %s", got)
	}
	var lines []string
	for _, a := range f.actions() {
		lines = append(lines, a.Verb+" "+a.Target)
	}
	want := "pause the account danaconnect-otp, pause the account danaconnect-otp, pause the queue anna, " +
		"pause the account anna, resume the queue anna, resume the account anna, resume the account danaconnect-otp"
	if got := strings.Join(lines, ", "); got != want {
		t.Errorf("the audit has %s", got)
	}
}

// A cancelled task is in the audit.
func TestACancelIsInTheAudit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.enqueue(otp("ana@example.com"))
	if err := f.client.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if lines := f.actions(); len(lines) != 1 || lines[0].Verb != "cancel" || lines[0].Target != id || lines[0].Who == "" {
		t.Errorf("the audit has %+v", lines)
	}
	if e := f.explainOne(operator.Question{ID: id}); e.Outcome != record.Cancelled {
		t.Errorf("%+v", e)
	}
}
