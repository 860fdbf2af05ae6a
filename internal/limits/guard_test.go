package limits

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

func proveGuard(t *testing.T, clients []redis.UniversalClient) {
	w := newWorld()
	rate := settings.Rate{N: 3, Per: 10 * time.Minute}
	var guards []*Guard
	for _, c := range clients {
		guards = append(guards, NewGuard(c, seal.NewSalt(c), "otp", rate, WithClock(w)))
	}
	ana, ben := []string{t.Name(), "ana"}, []string{t.Name(), "ben"}

	// Of 20 at once three get a place.
	var in atomic.Int32
	w.work(20, func(i int) {
		if guards[i%len(guards)].Take(t.Context(), fmt.Sprint("otp-", i), ana) == nil {
			in.Add(1)
		}
	})
	if in.Load() != 3 {
		t.Errorf("%d places", in.Load())
	}

	g := guards[0]
	take := func(task string, recipient []string) time.Duration {
		t.Helper()
		err := g.Take(t.Context(), task, recipient)
		if full, ok := errors.AsType[*FullError](err); ok {
			return full.Again
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

func TestFullErrorSaysHowMany(t *testing.T) {
	t.Parallel()
	for want, again := range map[string]time.Duration{"3m": 3 * time.Minute, "2m1s": 2*time.Minute + time.Millisecond, "1s": 0} {
		err := &FullError{Rate: settings.Rate{N: 5, Per: 10 * time.Minute}, Again: again}
		if err.Error() != "the recipient has had 5 in the last 10m; again possible in "+want {
			t.Error(err)
		}
	}
}
