package worker

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// The share of fresh passcodes is that of the latest thousand, and one that expired was not
// fresh.
func TestTheFreshShareIsThatOfTheLatest(t *testing.T) {
	t.Parallel()
	f := newFreshness(prometheus.NewRegistry())
	if got := f.ratio(); !math.IsNaN(got) {
		t.Errorf("%v before the first", got)
	}
	f.missed()
	f.sent(61*time.Second, 2*time.Minute)
	f.sent(60*time.Second, 2*time.Minute)
	f.sent(-time.Second, 2*time.Minute)
	if got := f.ratio(); got != 0.5 {
		t.Errorf("%v, want 2 of 4", got)
	}
	for range freshLatest {
		f.sent(0, time.Minute)
	}
	if got := f.ratio(); got != 1 {
		t.Errorf("%v, want only the latest to count", got)
	}
	f.missed()
	if got := f.ratio(); got != 1-1.0/freshLatest {
		t.Errorf("%v after one more that expired", got)
	}
}

// What a person waits for and can no longer arrive in time ends at once: expired if the
// vendor was never called. A wait that nobody can know goes on.
func TestWhatCannotArriveInTimeEndsAtOnce(t *testing.T) {
	t.Parallel()
	turn := func(wait time.Duration) error {
		blocked := &admission.Blocked{Key: "v:rate", RetryAfter: wait, Turn: true}
		return clients.BlockedError("v", "send", blocked)
	}
	tooMany := func(wait time.Duration) error {
		return &clients.Error{Vendor: "v", Kind: clients.Blocked, Status: 429, RetryAfter: wait}
	}
	open := clients.BlockedError("v", "send", &admission.Blocked{Key: "v:breaker", RetryAfter: 55 * time.Second})
	const delivery = 5 * time.Second
	for _, tt := range []struct {
		name     string
		err      error
		delivery time.Duration
		state    record.State
		outcome  record.Outcome
	}{
		{"its turn comes too late", turn(56 * time.Second), delivery, record.Ended, record.Expired},
		{"its turn comes in time", turn(54 * time.Second), delivery, record.Parked, ""},
		{"the vendor's pause is too long", tooMany(56 * time.Second), delivery, record.Ended, record.Failed},
		{"the vendor's pause is short", tooMany(54 * time.Second), delivery, record.Parked, ""},
		{"the breaker may close earlier", open, delivery, record.Parked, ""},
		{"nobody waits for it", turn(56 * time.Second), 0, record.Parked, ""},
	} {
		e := event{
			policy: broker.Policy{Delivery: tt.delivery}.WithDefaults(),
			left:   time.Minute,
			called: true,
			err:    tt.err,
		}
		if d := conclude(e); d.state != tt.state || d.outcome != tt.outcome {
			t.Errorf("%s: %s %s, want %s %s", tt.name, d.state, d.outcome, tt.state, tt.outcome)
		}
	}
}

// A passcode that a worker takes when it can no longer arrive in time is not sent.
func TestAClaimThatIsTooLateIsNotRun(t *testing.T) {
	t.Parallel()
	for delivery, expired := range map[time.Duration]bool{0: false, time.Second: false, time.Minute: true} {
		a := &attempt{
			known:      true,
			policy:     broker.Policy{Delivery: delivery},
			definition: Definition{Run: func(context.Context, Payload) (any, error) { return nil, nil }},
			claim:      &broker.Claim{Verdict: broker.Run, Version: broker.PayloadVersion},
		}
		a.claim.Expires = a.claim.Now().Add(30 * time.Second)
		err := a.refuse(nil)
		r, refused := err.(refusal) //nolint:errorlint // refuse returns it as it is
		if refused != expired || expired && r.outcome != record.Expired {
			t.Errorf("with %s to arrive: %v", delivery, err)
		}
	}
}
