package operator_test

import (
	"errors"
	"fmt"
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
	text, err := f.Pause(t.Context(), operator.PauseOrder{Queue: "otp", For: 30 * time.Minute, Reason: "the vendor moves"})
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
	if _, err := f.Pause(t.Context(), operator.PauseOrder{Queue: "otp", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if ttl := f.conn().PTTL(t.Context(), "asynq:{otp}:paused").Val(); ttl != -1 {
		t.Errorf("a pause without an end expires in %s", ttl)
	}
	if _, err := f.Resume(t.Context(), operator.PauseOrder{Queue: "otp"}); err != nil {
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
	if fmt.Sprint(verbs) != "[pause otp the vendor moves pause otp r resume otp ]" {
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
		{Queue: "opt", Reason: "r"},
		{Queue: "otp"},
		{Queue: "otp", Reason: "r", For: -time.Minute},
	} {
		_, err := f.Pause(t.Context(), order)
		if _, usage := errors.AsType[*operator.UsageError](err); !usage {
			t.Errorf("%+v: %v, want a usage error", order, err)
		}
	}
	if _, err := f.Pause(t.Context(), operator.PauseOrder{Queue: "otp", Reason: "r", DryRun: true}); err != nil {
		t.Error(err)
	}
	_, err := f.Resume(t.Context(), operator.PauseOrder{Queue: "otp"})
	if _, refused := errors.AsType[*operator.RefusedError](err); !refused {
		t.Errorf("%v, want a refusal", err)
	}
	if fmt.Sprint(before) != fmt.Sprint(f.dump()) {
		t.Error("something has changed")
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
