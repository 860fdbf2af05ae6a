package broker_test

import (
	"testing"
	"time"

	"errand.internal/internal/broker"
)

func TestBackoffHasFullJitter(t *testing.T) {
	t.Parallel()
	b := broker.Backoff{Base: time.Second, Max: time.Minute}
	if low, high := b.After(3, 0), b.After(3, 0.999999); low != 0 || high < 7*time.Second || high > 8*time.Second {
		t.Errorf("after the 4th attempt: %s to %s, want 0 to 8 s", low, high)
	}
	for n := range 200 {
		if d := b.After(n, 0.999999); d < 0 || d > time.Minute {
			t.Fatalf("after(%d) = %s", n, d)
		}
	}
}
