package tokens

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/admission"
)

// 50 workers get a 401 on the same token: one login.
func proveOneLoginPerRevocation(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	all := fleet(t, 50, rdb, testProfile(t, v), admission.WithNow(clock.now))
	for round := range int64(3) {
		old := make([]Token, len(all))
		concurrently(all, func(i int, s *Shared) {
			tok, err := s.Get(t.Context())
			if err != nil {
				t.Errorf("Get: %v", err)
			}
			old[i] = tok
		})
		v.expectLogins(t, round+1)
		clock.advance(11 * time.Second)
		concurrently(all, func(i int, s *Shared) {
			if !s.Reject(t.Context(), old[i]) {
				t.Errorf("Reject = false, want a replay")
			}
			tok, err := s.Get(t.Context())
			if err != nil || tok.Gen <= old[i].Gen {
				t.Errorf("Get after Reject = %d, %v; want newer than %d", tok.Gen, err, old[i].Gen)
			}
			// A late 401 on the old token removes nothing.
			if !s.Reject(t.Context(), old[i]) {
				t.Errorf("Reject of a replaced token = false, want a replay")
			}
		})
		v.expectLogins(t, round+2)
		clock.advance(11 * time.Second)
	}
}

func proveFreshTokenIsNotToBlame(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	all := fleet(t, 2, rdb, testProfile(t, v), admission.WithNow(clock.now))
	here, there := all[0], all[1]
	tok := mustGet(t, here)
	if here.Reject(t.Context(), tok) {
		t.Fatal("a fresh token was rejected")
	}
	clock.advance(11 * time.Second)
	old := mustGet(t, there)
	if here.Reject(t.Context(), tok) || there.Reject(t.Context(), old) {
		t.Error("rejections are not off")
	}
	if mustGet(t, here).Gen != tok.Gen {
		t.Error("the token was replaced")
	}
	v.expectLogins(t, 1)

	// After 30 seconds the token, no longer fresh, may be rejected.
	keys, err := here.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if left := rdb.PTTL(t.Context(), scriptKeys(keys)[4]).Val(); left <= 0 || left > 30*time.Second {
		t.Errorf("rejections are off for %v, want up to 30 s", left)
	}
	if err := rdb.Del(t.Context(), scriptKeys(keys)[4]).Err(); err != nil {
		t.Fatal(err)
	}
	clock.advance(31 * time.Second)
	if !there.Reject(t.Context(), old) {
		t.Error("the old token was not rejected")
	}
	mustGet(t, there)
	v.expectLogins(t, 2)
}

// Many 401s on a fresh token ask Redis once.
func TestStormOf401AsksRedisOnce(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	s := newSource(t, rdb, testProfile(t, &vendor{life: time.Hour}))
	tok := mustGet(t, s)
	if s.Reject(t.Context(), tok) {
		t.Fatal("a fresh token was rejected")
	}
	hook := &counting{}
	rdb.AddHook(hook)
	for range 50 {
		if s.Reject(t.Context(), tok) {
			t.Fatal("a fresh token was rejected")
		}
	}
	if n := hook.commands.Load(); n != 0 {
		t.Errorf("50 more asked Redis %d times", n)
	}
}

// A token that lives two seconds is old after half a second.
func TestFreshIsRelativeToShortLives(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: 2 * time.Second}
	clock := &testClock{}
	s := newSource(t, rdb, testProfile(t, v), admission.WithNow(clock.now))
	tok := mustGet(t, s)
	clock.advance(600 * time.Millisecond)
	if !s.Reject(t.Context(), tok) {
		t.Error("a token past a quarter of its life counts as fresh")
	}
}

func TestRejectWithoutRedis(t *testing.T) {
	t.Parallel()
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	s := newSource(t, closedClient(t), testProfile(t, v), admission.WithNow(clock.now))
	tok := mustGet(t, s)
	if s.Reject(t.Context(), tok) {
		t.Error("a fresh token was rejected")
	}
	clock.advance(time.Minute)
	if !s.Reject(t.Context(), tok) {
		t.Error("an old token was not rejected")
	}
	if got := mustGet(t, s); got.Gen <= tok.Gen {
		t.Errorf("Get after Reject = %d, want newer than %d", got.Gen, tok.Gen)
	}
	v.expectLogins(t, 2)
}

func proveOneSuspicionInFiveMinutes(t *testing.T, rdb redis.UniversalClient) {
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	all := fleet(t, 20, rdb, testProfile(t, v), admission.WithNow(clock.now))
	first := make([]Token, len(all))
	for i, s := range all {
		first[i] = mustGet(t, s)
	}
	if all[0].Suspect(t.Context(), first[0]) {
		t.Error("a fresh token was suspected")
	}
	clock.advance(11 * time.Second)
	// All processes have the same expired token: every call is worth a replay, with
	// one login.
	var replays atomic.Int64
	concurrently(all, func(i int, s *Shared) {
		if s.Suspect(t.Context(), first[i]) {
			replays.Add(1)
		}
		if tok, err := s.Get(t.Context()); err != nil || tok.Gen == first[i].Gen {
			t.Errorf("Get = %d, %v; want a new token", tok.Gen, err)
		}
	})
	if replays.Load() != 20 {
		t.Errorf("%d calls were replayed, want all 20", replays.Load())
	}
	v.expectLogins(t, 2)

	// From now on a "no" is a "no" for five minutes, in every process.
	newcomer := newSource(t, rdb, testProfile(t, v), admission.WithNow(clock.now))
	mustGet(t, newcomer)
	clock.advance(11 * time.Second)
	for _, s := range append(all, newcomer) {
		tok := mustGet(t, s)
		if s.Suspect(t.Context(), tok) {
			t.Error("a second suspicion within five minutes")
		}
	}
	v.expectLogins(t, 2)
}
