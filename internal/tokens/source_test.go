package tokens

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/admission"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// 50 workers with 4 goroutines each call Get 200,000 times while the token
// expires 5 times: 5 logins.
func proveOneLoginPerExpiry(t *testing.T, rdb redis.UniversalClient) {
	const workers, perWorker, gets, expiries = 50, 4, 200, 5
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	all := fleet(t, workers, rdb, testProfile(t, v), admission.WithNow(clock.now))
	for round := range int64(expiries) {
		var callers []*Shared
		for _, s := range all {
			for range perWorker {
				callers = append(callers, s)
			}
		}
		seen := make([]int64, len(callers))
		concurrently(callers, func(i int, s *Shared) {
			for range gets {
				tok, err := s.Get(t.Context())
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				if seen[i] != 0 && tok.Gen != seen[i] {
					t.Errorf("the token changed within a round")
				}
				seen[i] = tok.Gen
			}
		})
		for _, gen := range seen {
			if gen != seen[0] {
				t.Fatalf("round %d: workers have different generations %d and %d", round, gen, seen[0])
			}
		}
		v.expectLogins(t, round+1)
		clock.advance(time.Hour)
	}
}

func proveRefreshInTheBackground(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{life: time.Hour}
	entered, proceed := make(chan struct{}), make(chan struct{})
	v.answer = func(_ context.Context, n int64) (Grant, error) {
		if n == 2 {
			close(entered)
			<-proceed
		}
		return v.grant(n), nil
	}
	clock := &testClock{}
	all := fleet(t, 20, rdb, testProfile(t, v), admission.WithNow(clock.now))
	first := mustGet(t, all[0])
	for _, s := range all {
		mustGet(t, s)
	}
	// Margin 60 s, soft window 5 min ±10 %: this is inside it for every process.
	clock.advance(time.Hour - time.Minute - 4*time.Minute)
	for _, s := range all {
		if got := mustGet(t, s); got.Gen != first.Gen {
			t.Fatalf("Get waited for the refresh")
		}
	}
	<-entered
	concurrently(all, func(_ int, s *Shared) {
		for range 50 {
			if got, err := s.Get(t.Context()); err != nil || got.Gen != first.Gen {
				t.Errorf("Get during the refresh = %d, %v; want the old token", got.Gen, err)
				return
			}
		}
	})
	close(proceed)
	for _, s := range all {
		eventually(t, "the new token", func() bool { return mustGet(t, s).Gen > first.Gen })
	}
	v.expectLogins(t, 2)
}

// In the soft window a process asks Redis a few times per refresh, not once
// per Get.
func TestRefreshAsksRedisSeldom(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	holder := newSource(t, rdb, testProfile(t, v), admission.WithNow(clock.now))
	other := newSource(t, rdb, testProfile(t, v), admission.WithNow(clock.now))
	mustGet(t, holder)
	mustGet(t, other)
	entered, proceed := make(chan struct{}), make(chan struct{})
	v.answer = func(_ context.Context, n int64) (Grant, error) {
		close(entered)
		<-proceed
		return v.grant(n), nil
	}
	clock.advance(time.Hour - 5*time.Minute)
	mustGet(t, holder)
	<-entered

	hook := &counting{}
	rdb.AddHook(hook)
	start := time.Now()
	gets := 0
	for ; time.Since(start) < 150*time.Millisecond; gets++ {
		mustGet(t, other)
	}
	eventually(
		t,
		"the refresh to find the lease taken",
		func() bool { return other.nextRefresh.Load() > 0 && !other.refreshing.Load() },
	)
	// One request, and one more per 200 ms at most.
	if got, most := hook.commands.Load(), 2+int64(time.Since(start)/(200*time.Millisecond)); got > most {
		t.Errorf("%d Gets asked Redis %d times, want at most %d", gets, got, most)
	}
	close(proceed)
	eventually(t, "the new token", func() bool { return mustGet(t, holder).Value.Reveal() == "token-2" })
}

// A token in its last seconds is not handed to a process that has none yet.
func TestNewcomerDoesNotTakeAnEndingToken(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: 2 * time.Second} // hard at 1.5 s
	mustGet(t, newSource(t, rdb, testProfile(t, v)))
	newcomer := newSource(t, rdb, testProfile(t, v))
	// Wait until the shared token is older than 1.5 s on Redis' clock, while its key
	// has not expired yet.
	keys, err := newcomer.Keys()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token to be about to expire", func() bool {
		return rdb.PTTL(t.Context(), scriptKeys(keys)[3]).Val() < 480*time.Millisecond
	})
	got := mustGet(t, newcomer)
	if got.Value.Reveal() != "token-2" {
		t.Errorf("got %q, want a new token", got.Value.Reveal())
	}
}

func proveLateHolderIsFenced(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{life: time.Hour}
	entered, proceed := make(chan struct{}), make(chan struct{})
	v.answer = func(_ context.Context, n int64) (Grant, error) {
		if n == 1 {
			close(entered)
			<-proceed // longer than its lease
		}
		return v.grant(n), nil
	}
	stalled := newSource(t, rdb, testProfile(t, v), admission.WithLease(200*time.Millisecond))
	other := newSource(t, rdb, testProfile(t, v), admission.WithLease(5*time.Second))
	late := make(chan Token, 1)
	go func() {
		tok, err := stalled.Get(context.Background())
		if err != nil {
			t.Errorf("Get: %v", err)
		}
		late <- tok
	}()
	<-entered
	newer := mustGet(t, other)
	if newer.Value.Reveal() != "token-2" {
		t.Fatalf("the other process got %q", newer.Value.Reveal())
	}
	close(proceed)
	if got := <-late; got.Gen != newer.Gen || !got.Value.Equal("token-2") {
		t.Errorf(
			"the late holder got generation %d (%s), want the newer one %d",
			got.Gen,
			got.Value.Reveal(),
			newer.Gen,
		)
	}
	keys, err := other.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if g, err := rdb.HGet(t.Context(), scriptKeys(keys)[3], "g").Int64(); err != nil || g != newer.Gen {
		t.Errorf("stored generation %d, %v; want %d", g, err, newer.Gen)
	}
	v.expectLogins(t, 2)
}

// A holder that died still has its lease until that expires.
func TestLeaseOfADeadHolderExpires(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	all := fleet(t, 20, rdb, testProfile(t, v))
	keys, err := all[0].Keys()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := all[0].Run(beginScript, scriptKeys(keys), 0, "dead", 500); err != nil || r.Text(0) != "L" {
		t.Fatalf("begin = %v, %v", r, err)
	}
	start := time.Now()
	concurrently(all, func(_ int, s *Shared) {
		if _, err := s.Get(t.Context()); err != nil {
			t.Errorf("Get: %v", err)
		}
	})
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("served after %v, before the lease ran out", took)
	}
	v.expectLogins(t, 1)
}

// Clocks 40 minutes apart: ages are measured by Redis' clock alone.
func TestSkewedClocksDoNotMatter(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: 40 * time.Minute}
	fast, slow := &testClock{}, &testClock{}
	fast.advance(20 * time.Minute)
	slow.advance(-20 * time.Minute)
	a := newSource(t, rdb, testProfile(t, v), admission.WithNow(fast.now))
	b := newSource(t, rdb, testProfile(t, v), admission.WithNow(slow.now))
	mustGet(t, a)
	mustGet(t, b)
	leftA := time.Duration(a.current.Load().hard - a.Clock())
	leftB := time.Duration(b.current.Load().hard - b.Clock())
	if d := (leftA - leftB).Abs(); d > 2*time.Second {
		t.Errorf("one process uses the token for %v more, the other for %v", leftA, leftB)
	}
	if leftA > 39*time.Minute+time.Second || leftB > 39*time.Minute+time.Second {
		t.Errorf("the token would be used for %v and %v of 40 minutes, past its margin", leftA, leftB)
	}
	v.expectLogins(t, 1)
}

// A shared token's age is computed from its generation, or from its key's expiry
// if Redis' clock has been set back since.
func TestAgeOfASharedToken(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	s := newSource(t, rdb, testProfile(t, &vendor{}))
	keys, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	const gen, asked = int64(1_800_000_000_000_000), int64(time.Hour)
	blob := string(
		s.ring.Seal(seal.Token, aad(keys, gen), encodeGrant(Grant{Value: secret.New("x"), Life: 40 * time.Minute})),
	)
	tests := []struct {
		name string
		now  time.Duration // Redis' clock, since the generation
		pttl string
		want time.Duration // age
	}{
		{"by the generation", 10 * time.Minute, "1900000", 10 * time.Minute},
		{"by the expiry", -20 * time.Minute, "1800000", 10 * time.Minute},
		{"expiry unknown", 10 * time.Minute, "-1", 10 * time.Minute},
		{"no information", -20 * time.Minute, "-1", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := redisscript.Reply{
				"T",
				strconv.FormatInt(gen, 10),
				blob,
				strconv.FormatInt(gen+tt.now.Microseconds(), 10),
				tt.pttl,
			}
			c, err := s.openShared(keys, r, asked)
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Duration(asked - c.issued); got != tt.want ||
				c.hard != asked-int64(tt.want)+int64(39*time.Minute) {
				t.Errorf("age %v, want %v; it may be used for %v more", got, tt.want, time.Duration(c.hard-asked))
			}
		})
	}
}

func TestEmptiedRedisCostsNoLogin(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	all := fleet(t, 10, rdb, testProfile(t, v), admission.WithNow(clock.now))
	for _, s := range all {
		mustGet(t, s)
	}
	before := all[0].current.Load().Gen
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		mustGet(t, s)
	}
	v.expectLogins(t, 1)
	clock.advance(time.Hour)
	concurrently(all, func(_ int, s *Shared) {
		if tok, err := s.Get(t.Context()); err != nil || tok.Gen <= before {
			t.Errorf("Get = %d, %v; want a newer generation than %d", tok.Gen, err, before)
		}
	})
	v.expectLogins(t, 2)
}

type ctxKey struct{}

// A caller that gives up does not stop the login for the others, and the login
// sees nothing of its context.
func TestLoginIsIndependentOfItsCaller(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	entered, proceed := make(chan struct{}), make(chan struct{})
	v.answer = func(ctx context.Context, n int64) (Grant, error) {
		if ctx.Value(ctxKey{}) != nil {
			t.Error("the login sees a value of the caller's context")
		}
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 10*time.Second {
			t.Errorf("the login may take until %v, %v; want the profile's 10 s", end, ok)
		}
		close(entered)
		<-proceed
		return v.grant(n), ctx.Err()
	}
	s := newSource(t, rdb, testProfile(t, v))
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "x"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled caller got %v", err)
		}
	})
	<-entered
	served := make(chan error, 5)
	for range cap(served) {
		go func() {
			_, err := s.Get(context.Background())
			served <- err
		}()
	}
	eventually(t, "the others to wait", func() bool { return s.waiters.Load() == 6 })
	cancel()
	wg.Wait() // returns while the login is still in flight
	close(proceed)
	for range cap(served) {
		if err := <-served; err != nil {
			t.Errorf("a waiting caller got %v", err)
		}
	}
	v.expectLogins(t, 1)

	if _, err := newSource(t, rdb, Profile{Profile: admission.Profile{Name: "other"}, Fetch: v.fetch}).Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that was cancelled before got %v", err)
	}
	v.expectLogins(t, 1)
}

func TestTokenLifeIsBounded(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	tests := []struct {
		name                string
		life, profile, want time.Duration
	}{
		{"the vendor's", time.Hour, 0, time.Hour},
		{"not stated", 0, 0, 10 * time.Minute},
		{"not stated, set in the profile", 0, 3 * time.Minute, 3 * time.Minute},
		{"negative", -time.Second, 0, 10 * time.Minute},
		{"too short", time.Microsecond, 0, time.Millisecond},
		{"too long", 100 * 365 * 24 * time.Hour, 0, maxLife},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := &vendor{life: tt.life}
			p := testProfile(t, v)
			p.Name, p.DefaultLife = tt.name, tt.profile
			s := newSource(t, rdb, p)
			mustGet(t, s) // handed out, however short its life
			if got := s.current.Load().life; got != tt.want {
				t.Errorf("life = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSoftAndHardEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		life, hard, soft time.Duration
	}{
		{time.Hour, 59 * time.Minute, 54 * time.Minute},
		{10 * time.Minute, 9 * time.Minute, 7 * time.Minute},
		{time.Minute, 54 * time.Second, 42 * time.Second},
		{2 * time.Second, 1500 * time.Millisecond, 1100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.life.String(), func(t *testing.T) {
			t.Parallel()
			s := &Shared{softFactor: 1}
			c := s.newLocalToken(Grant{Value: secret.New("x"), Life: tt.life}, 1, 0, Fetched)
			if time.Duration(c.hard) != tt.hard || time.Duration(c.soft) != tt.soft {
				t.Errorf(
					"soft %v, hard %v; want %v, %v",
					time.Duration(c.soft),
					time.Duration(c.hard),
					tt.soft,
					tt.hard,
				)
			}
		})
	}
}

func TestBrokenLoginIsUnavailable(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	tests := []struct {
		name   string
		answer func(context.Context, int64) (Grant, error)
	}{
		{"panic", func(context.Context, int64) (Grant, error) { panic("canary") }},
		{"no token", func(context.Context, int64) (Grant, error) { return Grant{Life: time.Hour}, nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := &vendor{answer: tt.answer}
			p := testProfile(t, v)
			p.Name = tt.name
			_, err := newSource(t, rdb, p).Get(t.Context())
			wantUnavailable(t, err)
		})
	}
}

// Close gives the lease back, so that the next process need not wait for it.
func TestCloseDuringALoginReleasesTheLease(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	entered := make(chan struct{})
	v.answer = func(ctx context.Context, n int64) (Grant, error) {
		if n > 1 {
			return v.grant(n), nil
		}
		close(entered)
		<-ctx.Done()
		return Grant{}, ctx.Err()
	}
	s := newSource(t, rdb, testProfile(t, v))
	failed := make(chan error, 1)
	go func() {
		_, err := s.Get(context.Background())
		failed <- err
	}()
	<-entered
	s.Close()
	if err := <-failed; !errors.Is(err, admission.ErrClosed) {
		t.Errorf("the waiting caller got %v", err)
	}
	if _, err := s.Get(t.Context()); !errors.Is(err, admission.ErrClosed) {
		t.Errorf("a caller after Close got %v", err)
	}
	start := time.Now()
	mustGet(t, newSource(t, rdb, testProfile(t, v)))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the next process waited %v", took)
	}
}
