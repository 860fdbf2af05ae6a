package admission

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
	ask := func(a Request) error {
		_, err := l.Acquire(t.Context(), a)
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
		_ = ask(Request{Task: name, Deadline: time.Hour})
	}
	if n := waiting(); n != 100 {
		t.Fatalf("%d wait", n)
	}
	// Neither who has no name nor whose time is up before takes a place.
	for _, a := range []Request{{Task: "dinero-late", Deadline: 10 * time.Second}, {Deadline: time.Hour}} {
		if waits, ok := errors.AsType[*Blocked](ask(a)); !ok || waits.RetryAfter < time.Minute || waiting() != 100 {
			t.Errorf("%+v, %d wait", waits, waiting())
		}
	}
	// Nobody comes: whoever does may go, as the bucket is full.
	_ = f.Sleep(t.Context(), 30*time.Second)
	if err := ask(Request{Task: "dinero-new"}); err != nil {
		t.Error(err)
	}
	_ = f.Sleep(t.Context(), 90*time.Second)
	if err := ask(Request{Task: "dinero-newer"}); err != nil || waiting() > 20 {
		t.Errorf("%v, %d wait although their time was over a minute ago", err, waiting())
	}
}

// Who comes for the first time does not take a worker's slot to wait in, at least
// not for long; whose time has come does, rather than come back once more.
func proveMaxWait(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(60), 0)) // one in 1.07 s
	says := func(want string, a Request) {
		t.Helper()
		if r, err := f.limiters[0].acquire(t.Context(), "", a, patience); err != nil || r.Text(0) != want {
			t.Errorf("%v, %v; want %s", r, err, want)
		}
	}
	for range 5 {
		says("go", Request{})
	}
	says("wait", Request{Task: "dinero-1", Deadline: time.Hour})
	_ = f.Sleep(t.Context(), 1100*time.Millisecond)
	says("go", Request{Underway: true}) // takes what was meant for it
	says("go", Request{Task: "dinero-1"})
	_ = f.Sleep(t.Context(), 1800*time.Millisecond)
	says("go", Request{Task: "dinero-2"}) // after a moment
}

// Whose time has come is late by a moment, as a queue is not exact. It does not
// lose its turn to whoever comes in between.
func proveLate(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(95), 0))
	l := f.limiters[0]
	for _, name := range names(7) { // five go, two are told to come
		_, _ = l.Acquire(t.Context(), Request{Task: name, Deadline: time.Hour})
	}
	_ = f.Sleep(t.Context(), time.Second) // the first of the two is late
	if _, err := l.Acquire(t.Context(), Request{Task: "dinero-new", Deadline: time.Hour}); err == nil {
		t.Error("a newcomer went first")
	}
	if _, err := l.Acquire(t.Context(), Request{Task: "dinero-005"}); err != nil {
		t.Error(err)
	}
}
