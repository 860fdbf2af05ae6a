package admission

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

func proveGuard(t *testing.T, clients []redis.UniversalClient) {
	w := newWorld()
	rate := settings.Rate{N: 3, Per: 10 * time.Minute}
	var guards []*Guard
	for _, c := range clients {
		guards = append(guards, NewGuard(c, seal.NewSalt(c), "otp", "recipient", rate, WithClock(w)))
	}
	ana, ben := []string{t.Name(), "ana"}, []string{t.Name(), "ben"}

	// Of 20 at once three get a place.
	var in atomic.Int32
	w.work(20, func(i int) {
		if guards[i%len(guards)].Take(t.Context(), fmt.Sprint("otp-", i), ana) == nil {
			in.Add(1)
		}
	})
	refused := 0.0
	for _, g := range guards {
		refused += testutil.ToFloat64(g.refusals)
	}
	if in.Load() != 3 || refused != 17 {
		t.Errorf("%d places, %v refusals counted", in.Load(), refused)
	}

	g := guards[0]
	take := func(task string, recipient []string) time.Duration {
		t.Helper()
		err := g.Take(t.Context(), task, recipient)
		if full, ok := errors.AsType[*Blocked](err); ok {
			return full.RetryAfter
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0
	}
	for i := range 3 {
		if take(fmt.Sprint("otp-b", i), ben) != 0 {
			t.Fatalf("place %d is refused", i)
		}
		_ = w.Sleep(t.Context(), time.Minute)
	}
	for range 3 { // a task that asks again has its place
		if take("otp-b2", ben) != 0 {
			t.Error("it must be the task's own place")
		}
	}
	if again := take("otp-b3", ben); again != 7*time.Minute {
		t.Errorf("again in %s, want 7 m", again)
	}
	g.Free(t.Context(), "otp-b1", ben)
	if take("otp-b3", ben) != 0 {
		t.Error("a place given back must be free")
	}
	_ = w.Sleep(t.Context(), 7*time.Minute)
	if take("otp-b4", ben) != 0 {
		t.Error("the first place must be over")
	}
	if again := take("otp-b5", ben); again <= 0 || again > 10*time.Minute {
		t.Errorf("again in %s", again)
	}
}

// A Blocked says what blocks, and when to come back.
func TestBlockedSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		blocked Blocked
		want    string
	}{
		{Blocked{Reason: "it is full", RetryAfter: 40 * time.Second}, "it is full; next try in 40s"},
		{Blocked{Reason: "it is full", RetryAfter: 90*time.Second + time.Millisecond}, "it is full; next try in 1m30s"},
		{Blocked{Reason: "it is full", RetryAfter: 123456 * time.Microsecond, Turn: true}, "it is full; its turn is in 123ms"},
	} {
		if got := tt.blocked.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	for want, wait := range map[string]time.Duration{"3m": 3 * time.Minute, "2m1s": 2*time.Minute + time.Millisecond, "1s": 0} {
		if got := Span(wait); got != want {
			t.Errorf("%s is written %q, want %q", wait, got, want)
		}
	}
}
