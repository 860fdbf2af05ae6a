package worker

import (
	"errors"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

func TestConclude(t *testing.T) {
	t.Parallel()
	fault := func(kind clients.Kind, change ...func(*clients.Error)) error {
		e := &clients.Error{Vendor: "v", Op: "op", Kind: kind, Message: "m"}
		for _, c := range change {
			c(e)
		}
		return e
	}
	after := func(d time.Duration) func(*clients.Error) { return func(e *clients.Error) { e.RetryAfter = d } }
	notSent := func(e *clients.Error) { e.NotSent = true }
	cooling := func(e *clients.Error) { e.NotSent, e.Err = true, &admission.Blocked{Refused: true, Key: "p"} }
	inLine := func(d time.Duration) func(*clients.Error) {
		return func(e *clients.Error) {
			e.NotSent, e.RetryAfter, e.Err = true, d, &admission.Blocked{Turn: true, Key: "v-1:rate", RetryAfter: d}
		}
	}
	nobody := func(e *clients.Error) { e.NotSent, e.Err = true, &admission.Blocked{Key: "p"} }

	base := event{
		left:   time.Minute,
		called: true,
		random: 0.5,
		policy: broker.Policy{Backoff: broker.Backoff{Base: time.Second, Max: 10 * time.Second}},
	}
	for _, tc := range []struct {
		name       string
		err        error
		change     func(*event)
		state      record.State
		outcome    record.Outcome
		class      string
		wait       time.Duration
		notCounted bool
		untried    bool
	}{
		{name: "success", state: record.Ended, outcome: record.Done, class: "done"},
		{name: "declined", err: fault(clients.Declined), state: record.Ended, outcome: record.Declined, class: "declined"},
		{name: "invalid", err: fault(clients.Invalid), state: record.Ended, outcome: record.Invalid, class: "invalid"},
		{name: "failed, not repeatable", err: fault(clients.Failed), state: record.Ended, outcome: record.Failed, class: "failed"},
		{name: "failed, repeatable", err: fault(clients.Failed), change: func(s *event) { s.policy.Redelivery = broker.AtLeastOnce }, state: record.Retrying, class: "failed", wait: 500 * time.Millisecond},
		{name: "finally failed, repeatable", err: fault(clients.Failed, func(e *clients.Error) { e.Final = true }), change: func(s *event) { s.policy.Redelivery = broker.AtLeastOnce }, state: record.Ended, outcome: record.Failed, class: "failed"},
		{name: "unknown, not repeatable", err: fault(clients.Unknown), state: record.Ended, outcome: record.Unknown, class: "unknown"},
		{name: "unknown, repeatable", err: fault(clients.Unknown), change: func(s *event) { s.policy.Redelivery = broker.AtLeastOnce }, state: record.Retrying, class: "unknown", wait: 500 * time.Millisecond},
		{name: "temporary, not repeatable", err: fault(clients.Temporary), state: record.Retrying, class: "temporary", wait: 500 * time.Millisecond},
		{name: "third attempt", err: fault(clients.Temporary), change: func(s *event) { s.attempts = 2 }, state: record.Retrying, class: "temporary", wait: 2 * time.Second},
		{name: "backoff is capped", err: fault(clients.Temporary), change: func(s *event) { s.attempts = 60 }, state: record.Retrying, class: "temporary", wait: 5 * time.Second},
		{name: "429 with Retry-After", err: fault(clients.Blocked, after(20*time.Second)), state: record.Parked, class: "blocked", wait: 21 * time.Second, notCounted: true},
		{name: "429 without", err: fault(clients.Blocked), state: record.Parked, class: "blocked", wait: 10500 * time.Millisecond, notCounted: true},
		{name: "429 to a task without a longest backoff", err: fault(clients.Blocked), change: func(s *event) { s.policy.Backoff.Max = time.Hour }, state: record.Parked, class: "blocked", wait: 31500 * time.Millisecond, notCounted: true},
		{name: "429 for longer than the budget", err: fault(clients.Blocked, after(time.Hour)), state: record.Parked, class: "blocked", wait: time.Minute, notCounted: true},
		{name: "429 on the last attempt", err: fault(clients.Blocked, after(20*time.Second)), change: func(s *event) { s.policy.Attempts, s.attempts = 3, 2 }, state: record.Parked, class: "blocked", wait: 21 * time.Second, notCounted: true},
		{name: "its turn in line", err: fault(clients.Blocked, inLine(40*time.Second)), state: record.Parked, class: "parked", wait: 40050 * time.Millisecond, notCounted: true, untried: true},
		{name: "its turn soon", err: fault(clients.Blocked, inLine(200*time.Millisecond)), state: record.Parked, class: "parked", wait: 210 * time.Millisecond, notCounted: true, untried: true},
		{name: "its turn is far away", err: fault(clients.Blocked, inLine(2*time.Hour)), change: func(s *event) { s.left = 5 * time.Hour }, state: record.Parked, class: "parked", wait: 5*time.Minute + 50*time.Millisecond, notCounted: true, untried: true},
		{name: "its turn comes too late", err: fault(clients.Blocked, inLine(2*time.Minute)), state: record.Parked, class: "parked", wait: time.Minute, notCounted: true, untried: true},
		{name: "backoff beyond the budget", err: fault(clients.Temporary), change: func(s *event) { s.left = 100 * time.Millisecond }, state: record.Ended, outcome: record.Failed, class: "temporary"},
		{name: "last attempt", err: fault(clients.Temporary), change: func(s *event) { s.policy.Attempts, s.attempts = 3, 2 }, state: record.Ended, outcome: record.Failed, class: "temporary"},
		{name: "last but one attempt", err: fault(clients.Temporary), change: func(s *event) { s.policy.Attempts, s.attempts = 3, 1 }, state: record.Retrying, class: "temporary", wait: time.Second},
		{name: "refused credentials", err: fault(clients.Credentials), state: record.Parked, class: "credentials", wait: 31500 * time.Millisecond, notCounted: true},
		{name: "cooling credentials", err: fault(clients.Blocked, cooling, after(10*time.Second)), state: record.Parked, class: "parked", wait: 10500 * time.Millisecond, notCounted: true, untried: true},
		{name: "a park is never long", err: fault(clients.Blocked, cooling, after(30*time.Minute)), change: func(s *event) { s.left = time.Hour }, state: record.Parked, class: "parked", wait: time.Minute, notCounted: true, untried: true},
		{name: "a park ends with the budget", err: fault(clients.Blocked, cooling), change: func(s *event) { s.left = 3 * time.Second }, state: record.Parked, class: "parked", wait: 3 * time.Second, notCounted: true, untried: true},
		{name: "login service away", err: fault(clients.Blocked, nobody, after(2*time.Second)), state: record.Parked, class: "parked", wait: 2100 * time.Millisecond, notCounted: true, untried: true},
		{name: "connection refused", err: fault(clients.Temporary, notSent), state: record.Retrying, class: "temporary", wait: 500 * time.Millisecond},
		{name: "Redis did not take the start", err: fault(clients.Temporary, notSent, func(e *clients.Error) { e.Err = &broker.NotStartedError{Err: errors.New("EOF")} }), change: func(s *event) { s.policy.Attempts, s.attempts = 3, 2 }, state: record.Retrying, class: "temporary", wait: 500 * time.Millisecond, notCounted: true, untried: true},
		{name: "our own fault before the call", err: errors.New("boom"), state: record.Retrying, class: "temporary", wait: 500 * time.Millisecond},
		{name: "our own fault after the call", err: errors.New("boom"), change: func(s *event) { s.sent = true }, state: record.Ended, outcome: record.Unknown, class: "unknown"},
		{name: "panic before the call", err: &panicError{value: "boom"}, state: record.Retrying, class: "panic", wait: 500 * time.Millisecond},
		{name: "panic after the call", err: &panicError{value: "boom"}, change: func(s *event) { s.sent = true }, state: record.Ended, outcome: record.Unknown, class: "panic"},
		{name: "panic after a repeatable call", err: &panicError{value: "boom"}, change: func(s *event) { s.sent, s.policy.Redelivery = true, broker.AtLeastOnce }, state: record.Retrying, class: "panic", wait: 500 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := base
			if tc.change != nil {
				tc.change(&s)
			}
			s.err = tc.err
			v := conclude(s)
			if v.state != tc.state || v.outcome != tc.outcome || v.class != tc.class || v.wait != tc.wait || v.counted == tc.notCounted || v.untried != tc.untried {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestWhatATaskWaitsFor(t *testing.T) {
	t.Parallel()
	s := event{left: time.Hour, policy: broker.Policy{}.WithDefaults()}
	for want, err := range map[string]error{
		"v-1:concurrency": &clients.Error{Vendor: "v", Kind: clients.Blocked, NotSent: true, Err: &admission.Blocked{Turn: true, Key: "v-1:concurrency"}},
		"p":               &clients.Error{Vendor: "v", Kind: clients.Credentials, Status: 401, Err: &admission.Blocked{Refused: true, Key: "p"}},
		"worker":          elsewhere("v", "no key"),
		"v:rate":          &clients.Error{Vendor: "v", Kind: clients.Blocked, Status: 429},
	} {
		s.err = err
		if v := conclude(s); v.blockedBy != want {
			t.Errorf("%v: waits for %q; want %q", err, v.blockedBy, want)
		}
	}
}

// A claim is run only if it says so: a word that this release does not know is a newer
// one's, and the task waits for a worker of that.
func TestAnUnknownVerdictIsNotRun(t *testing.T) {
	t.Parallel()
	a := &attempt{claim: &broker.Claim{Verdict: "a later verdict", Expires: time.Now().Add(time.Hour)}}
	if e, ok := clients.AsError(a.refuseClaim()); !ok || e.Kind != clients.Blocked || !e.NotSent {
		t.Errorf("%+v, want it parked", e)
	}
}

// A payload that this release cannot read is parked if a newer one wrote it, and ends
// invalid if not.
func TestOnlyANewersPayloadIsParked(t *testing.T) {
	t.Parallel()
	unreadable := errors.New("nam is unknown")
	for version, parked := range map[int]bool{
		broker.PayloadVersion:     false,
		broker.PayloadVersion + 1: true,
	} {
		a := &attempt{known: true, claim: &broker.Claim{Verdict: broker.Run, Version: version}}
		a.claim.Expires = a.claim.Now().Add(time.Hour)
		err := a.refuse(unreadable)
		e, ok := clients.AsError(err)
		refused, isRefusal := err.(refusal) //nolint:errorlint // refuse returns it as it is
		if parked && (!ok || e.Kind != clients.Blocked || !e.NotSent) || !parked && (!isRefusal || refused.outcome != record.Invalid) {
			t.Errorf("version %d: %#v, parked %v", version, err, parked)
		}
	}
}
