package tokens

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/admission"
	"errand.internal/internal/secret"
)

func refuse(context.Context, int64) (Grant, error) {
	return Grant{}, &RefusedError{Profile: "test", Reason: "invalid_client"}
}

// 50 workers call Get 20 times each with a wrong secret: one login. The right
// secret works at once, while the wrong one is still in its cool-down.
func proveWrongSecretCostsOneLogin(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{answer: refuse}
	var seen changes
	all := fleet(t, 50, rdb, testProfile(t, v), admission.WithOnChange(seen.add))
	concurrently(all, func(_ int, s *Shared) {
		for range 20 {
			_, err := s.Get(t.Context())
			c := wantRefused(t, err, 30*time.Second)
			if c.Reason != "credential test was refused (invalid_client)" || c.Key != "test" {
				t.Errorf("the error says %q", c)
			}
		}
	})
	v.expectLogins(t, 1)
	seen.mu.Lock()
	if len(seen.list) != 50 || seen.list[0] != "test parked" {
		t.Errorf("announced %d times (%q…), want once per process", len(seen.list), seen.list[0])
	}
	seen.mu.Unlock()
	st, err := all[7].State(t.Context())
	if err != nil || !st.Refused || st.Refusals != 1 || st.CoolingFor <= 25*time.Second ||
		st.CoolingFor > 30*time.Second {
		t.Errorf("State = %+v, %v", st, err)
	}

	right := &vendor{life: time.Hour}
	p := testProfile(t, right)
	p.Identity.Secrets = []secret.String{secret.New("corrected")}
	mustGet(t, newSource(t, rdb, p))
	_, err = all[3].Get(t.Context())
	wantRefused(t, err, 30*time.Second)
	v.expectLogins(t, 1)
}

func proveLadderClimbsAndIsClearedBySuccess(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{answer: refuse, life: time.Hour}
	var seen changes
	clock := &testClock{}
	s := newSource(t, rdb, testProfile(t, v), admission.WithOnChange(seen.add), admission.WithNow(clock.now),
		admission.WithCoolDowns(50*time.Millisecond, 100*time.Millisecond, time.Hour))
	// Past the second for which a process believes the cool-down it knows.
	try := func() error {
		clock.advance(2 * time.Second)
		_, err := s.Get(t.Context())
		return err
	}
	for n, most := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, time.Hour} {
		eventually(t, "the next login", func() bool { _ = try(); return v.logins.Load() == int64(n+1) })
		st, err := s.State(t.Context())
		if err != nil || st.Refusals != n+1 || st.CoolingFor > most {
			t.Errorf("after refusal %d: State = %+v, %v; want a cool-down of up to %v", n+1, st, err, most)
		}
	}
	wantRefused(t, try(), time.Hour)
	v.expectLogins(t, 3)
	seen.expect(t, "test parked")

	// The operator had the account unlocked.
	v.answer = nil
	if err := s.ClearCoolDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustGet(t, s)
	seen.expect(t, "test parked", "test resumed")
	st, err := s.State(t.Context())
	if err != nil || st.Refusals != 0 || st.CoolingFor != 0 || st.TokenFor < 59*time.Minute {
		t.Errorf("after the success: State = %+v, %v", st, err)
	}
}

// A login that works after the cool-down clears the count.
func TestSuccessForgetsRefusals(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour, answer: refuse}
	clock := &testClock{}
	s := newSource(t, rdb, testProfile(t, v), admission.WithNow(clock.now), admission.WithCoolDowns(20*time.Millisecond))
	wantRefused(t, get(t, s), 20*time.Millisecond)
	v.answer = nil
	eventually(t, "the cool-down to end", func() bool {
		clock.advance(2 * time.Second)
		return get(t, s) == nil
	})
	if st, err := s.State(t.Context()); err != nil || st.Refusals != 0 || st.Reason != "" {
		t.Errorf("State = %+v, %v; want no refusal on record", st, err)
	}
}

// The count of refusals outlives the steps themselves.
func TestRefusalsOutliveTheLongestStep(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{answer: refuse}
	s := newSource(t, rdb, testProfile(t, v))
	_, err := s.Get(t.Context())
	wantRefused(t, err, 30*time.Second)
	keys, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if left := rdb.PTTL(t.Context(), scriptKeys(keys)[1]).Val(); left < 23*time.Hour {
		t.Errorf("the cool-down is kept for %v, want about a day", left)
	}
}

type retryLater struct{ after time.Duration }

func (e retryLater) Error() string                 { return "HTTP 503" }
func (e retryLater) RetryAfterHint() time.Duration { return e.after }

// The login service is down: no caller with a valid token notices, and the whole
// fleet asks once.
func proveOutageIsHiddenByAValidToken(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	all := fleet(t, 30, rdb, testProfile(t, v), admission.WithNow(clock.now))
	first := mustGet(t, all[0])
	for _, s := range all {
		mustGet(t, s)
	}
	v.answer = func(context.Context, int64) (Grant, error) { return Grant{}, retryLater{time.Minute} }
	clock.advance(time.Hour - 5*time.Minute)
	concurrently(all, func(_ int, s *Shared) {
		for range 50 {
			if got, err := s.Get(t.Context()); err != nil || got.Gen != first.Gen {
				t.Errorf("Get = %d, %v; want the old token", got.Gen, err)
			}
		}
	})
	for _, s := range all {
		eventually(t, "the refresh to be over", func() bool { return !s.refreshing.Load() })
	}
	v.expectLogins(t, 2)
}

func TestOutageWithoutAToken(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	cause := errors.New("connection refused")
	tests := []struct {
		name  string
		err   error
		least time.Duration
		most  time.Duration
	}{
		{"no hint", cause, 900 * time.Millisecond, 2 * time.Second},
		{"the service names the wait", retryLater{90 * time.Second}, 80 * time.Second, 90 * time.Second},
		{"a wait that is too long", retryLater{100 * time.Hour}, 29 * time.Minute, 30 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := &vendor{answer: func(context.Context, int64) (Grant, error) { return Grant{}, tt.err }}
			p := testProfile(t, v)
			p.Name = tt.name
			var seen changes
			s := newSource(t, rdb, p, admission.WithOnChange(seen.add))
			_, err := s.Get(t.Context())
			u := wantUnavailable(t, err)
			if !errors.Is(err, tt.err) || u.RetryAfter < tt.least || u.RetryAfter > tt.most {
				t.Errorf("got %v (%v), want a wait of %v to %v and the cause", u, u.RetryAfter, tt.least, tt.most)
			}
			if u := wantUnavailable(t, get(t, newSource(t, rdb, p))); u.RetryAfter > tt.most {
				t.Errorf("another process is told to wait %v", u.RetryAfter)
			}
			v.expectLogins(t, 1)
			seen.expect(t) // an outage parks no credential
		})
	}
}

func get(t testing.TB, s Source) error {
	_, err := s.Get(t.Context())
	return err
}

// A process without Redis climbs the same ladder, and the fleet learns of its
// refusal before another process tries.
func TestRefusedWithoutRedis(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	v := &vendor{answer: refuse}
	clock := &testClock{}
	offline := newSource(t, quickClient(t, srv.Addr()), testProfile(t, v), admission.WithNow(clock.now))
	if _, err := offline.Keys(); err != nil { // it has been connected before
		t.Fatal(err)
	}
	srv.Stop()
	for range 5 {
		wantRefused(t, get(t, offline), 30*time.Second)
		clock.advance(time.Second)
	}
	v.expectLogins(t, 1)
	clock.advance(30 * time.Second) // the first cool-down is over, Redis is still down
	if c := wantRefused(t, get(t, offline), 5*time.Minute); c.RetryAfter < 4*time.Minute {
		t.Errorf("after the second refusal: %v, want the next step", c.RetryAfter)
	}
	v.expectLogins(t, 2)

	srv.Start()
	eventually(t, "Redis to answer", func() bool { _, err := offline.State(t.Context()); return err == nil })
	clock.advance(10 * time.Second) // the breaker has closed
	wantRefused(t, get(t, offline), 5*time.Minute)
	other := newSource(t, quickClient(t, srv.Addr()), testProfile(t, v))
	wantRefused(t, get(t, other), 5*time.Minute)
	v.expectLogins(t, 2)
}
