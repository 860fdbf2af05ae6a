package limits

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Tasks that are cancelled, or whose time is up, leave nothing but a gap.
func proveAbsent(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(95), 0))
	l := f.limiters[0]
	ask := func(a Ask) error {
		_, err := l.Enter(t.Context(), a)
		return err
	}
	waiting := func() int {
		state, err := l.State(t.Context())
		if err != nil {
			t.Error(err)
		}
		return state.Waiting
	}
	for _, name := range names(105) {
		_ = ask(Ask{Task: name, Horizon: time.Hour})
	}
	if n := waiting(); n != 100 {
		t.Fatalf("%d wait", n)
	}
	// Neither who has no name nor whose time is up before takes a place.
	for _, a := range []Ask{{Task: "dinero-late", Horizon: 10 * time.Second}, {Horizon: time.Hour}} {
		if waits, ok := errors.AsType[*WaitError](ask(a)); !ok || waits.RetryAfter < time.Minute || waiting() != 100 {
			t.Errorf("%+v, %d wait", waits, waiting())
		}
	}
	// Nobody comes: whoever does may go, as the bucket is full.
	_ = f.Sleep(t.Context(), 30*time.Second)
	if err := ask(Ask{Task: "dinero-new"}); err != nil {
		t.Error(err)
	}
	_ = f.Sleep(t.Context(), 90*time.Second)
	if err := ask(Ask{Task: "dinero-newer"}); err != nil || waiting() > 20 {
		t.Errorf("%v, %d wait although their time was over a minute ago", err, waiting())
	}
}

// Who comes for the first time does not take a worker's slot to wait in, at least
// not for long; whose time has come does, rather than come back once more.
func provePatience(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(60), 0)) // one in 1.07 s
	says := func(want string, a Ask) {
		t.Helper()
		if r, err := f.limiters[0].enter(t.Context(), "", a, patience); err != nil || r.text(0) != want {
			t.Errorf("%v, %v; want %s", r, err, want)
		}
	}
	for range 5 {
		says("go", Ask{})
	}
	says("wait", Ask{Task: "dinero-1", Horizon: time.Hour})
	_ = f.Sleep(t.Context(), 1100*time.Millisecond)
	says("go", Ask{Underway: true}) // takes what was meant for it
	says("go", Ask{Task: "dinero-1"})
	_ = f.Sleep(t.Context(), 1800*time.Millisecond)
	says("go", Ask{Task: "dinero-2"}) // after a moment
}

// Whose time has come is late by a moment, as a queue is not exact. It does not
// lose its turn to whoever comes in between.
func proveLate(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(95), 0))
	l := f.limiters[0]
	for _, name := range names(7) { // five go, two are told to come
		_, _ = l.Enter(t.Context(), Ask{Task: name, Horizon: time.Hour})
	}
	_ = f.Sleep(t.Context(), time.Second) // the first of the two is late
	if _, err := l.Enter(t.Context(), Ask{Task: "dinero-new", Horizon: time.Hour}); err == nil {
		t.Error("a newcomer went first")
	}
	if _, err := l.Enter(t.Context(), Ask{Task: "dinero-005"}); err != nil {
		t.Error(err)
	}
}
