package tokens

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/admission"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

func withRing(t *testing.T, rdb redis.UniversalClient, ring *seal.Ring, p Profile, opts ...admission.Option) *Shared {
	t.Helper()
	s := NewSource(rdb, ring, p, nil, append([]admission.Option{admission.WithRedisTimeout(testRedisTimeout)}, opts...)...)
	t.Cleanup(s.Close)
	return s
}

// Rotation k1 -> k2,k1 -> k2: processes with both keys read what either wrote.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	clock := &testClock{}
	old := withRing(t, rdb, testRing(t, "k1"), testProfile(t, v))
	both := withRing(t, rdb, testRing(t, "k2", "k1"), testProfile(t, v), admission.WithNow(clock.now))
	fresh := withRing(t, rdb, testRing(t, "k2"), testProfile(t, v))
	first := mustGet(t, old)
	if got := mustGet(t, both); got.Gen != first.Gen || first.Origin != Fetched || got.Origin != Adopted {
		t.Error("a process with both keys did not read the old key's token")
	}
	v.expectLogins(t, 1)
	clock.advance(time.Hour)
	second := mustGet(t, both)
	if got := mustGet(t, fresh); got.Gen != second.Gen || !got.Value.Equal("token-2") {
		t.Error("a process with the new key did not read the new key's token")
	}
	v.expectLogins(t, 2)
}

// A process without the key logs in for itself and leaves the shared token
// alone.
func TestUnreadableToken(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	shared := mustGet(t, withRing(t, rdb, testRing(t, "k1"), testProfile(t, v)))
	clock := &testClock{}
	keyless := withRing(t, rdb, testRing(t, "k2"), testProfile(t, v), admission.WithNow(clock.now))
	for round := range int64(2) {
		first := mustGet(t, keyless)
		if first.Origin != FallbackUnreadable {
			t.Errorf("origin %d, want FallbackUnreadable", first.Origin)
		}
		if got := mustGet(t, keyless); got.Gen != first.Gen {
			t.Error("the process' own token was not kept")
		}
		v.expectLogins(t, 2+round)
		keys, err := keyless.Keys()
		if err != nil {
			t.Fatal(err)
		}
		if g, err := rdb.HGet(t.Context(), scriptKeys(keys)[3], "g").Int64(); err != nil || g != shared.Gen {
			t.Errorf("the stored generation is %d, %v; want %d untouched", g, err, shared.Gen)
		}
		clock.advance(11 * time.Second)
		if !keyless.Reject(t.Context(), first) {
			t.Error("the process' own old token was not rejected")
		}
	}
	if n := metric(t, keyless.count.unreadable); n != 2 {
		t.Errorf("%v unreadable tokens counted, want 2", n)
	}

	p := testProfile(t, v)
	p.Exclusive = true
	mine := withRing(t, rdb, testRing(t, "k1"), p)
	mustGet(t, mine)
	logins := v.logins.Load()
	u := wantUnavailable(t, get(t, withRing(t, rdb, testRing(t, "k2"), p)))
	if u.RetryAfter != missingKeyRetry || !strings.Contains(u.Err.Error(), "ENCRYPTION_KEYS") {
		t.Errorf("an exclusive profile without the key got %v (%v)", u.Err, u.RetryAfter)
	}
	v.expectLogins(t, logins)
}

// A sealed token neither opens under another generation nor for another
// credential.
func TestMovedTokenIsNotAccepted(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	v := &vendor{life: time.Hour}
	writer := newSource(t, rdb, testProfile(t, v))
	mustGet(t, writer)
	keys, err := writer.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.HIncrBy(t.Context(), scriptKeys(keys)[3], "g", 1).Err(); err != nil {
		t.Fatal(err)
	}
	reader := newSource(t, rdb, testProfile(t, v))
	if got := mustGet(t, reader); got.Value.Equal("token-1") {
		t.Error("the token was accepted under another generation")
	}
	if n := metric(t, reader.count.unreadable); n != 1 {
		t.Errorf("%v unreadable tokens counted, want 1", n)
	}
}

// After use, no key and no value in Redis reveals a secret.
func TestNothingSecretInRedis(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	canaries := []string{"canary-password", "canary-client", "canary-user", "canary-hash", "canary-token"}
	p := Profile{Profile: admission.Profile{
		Name: "dump",
		Identity: admission.Identity{
			Grant:    "password",
			URL:      "https://vendor.test/token",
			ClientID: canaries[1],
			Username: canaries[2],
			Secrets:  []secret.String{secret.New(canaries[0]), secret.New(canaries[3])},
		},
	}}
	clock := &testClock{}
	p.Fetch = func(context.Context) (Grant, error) {
		return Grant{Value: secret.New(canaries[4]), Life: time.Hour}, nil
	}
	s := newSource(t, rdb, p, admission.WithNow(clock.now))
	tok := mustGet(t, s)
	clock.advance(time.Minute)
	s.Reject(t.Context(), tok)
	s.Reject(t.Context(), mustGet(t, s)) // fresh: switches rejections off
	p.Identity.Scope = "other"
	p.Fetch = func(context.Context) (Grant, error) {
		return Grant{}, &RefusedError{Profile: "dump", Reason: "invalid_grant"}
	}
	_ = get(t, newSource(t, rdb, p))
	p.Identity.Scope = "static"
	b := admission.NewBreaker(rdb, p.Profile, admission.WithRedisTimeout(testRedisTimeout))
	t.Cleanup(b.Close)
	permit, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	permit.Done(t.Context(), admission.Result{Verdict: admission.Accepted})

	var dump strings.Builder
	keys := rdb.Keys(t.Context(), "*").Val()
	if len(keys) < 4 {
		t.Fatalf("only %d keys: %q", len(keys), keys)
	}
	for _, key := range keys {
		dump.WriteString(key + "\n" + rdb.Get(t.Context(), key).Val() + "\n")
		for field, value := range rdb.HGetAll(t.Context(), key).Val() {
			dump.WriteString(field + "\n" + value + "\n")
		}
	}
	for _, c := range canaries {
		for _, form := range []string{c, hex.EncodeToString([]byte(c)), base64.StdEncoding.EncodeToString([]byte(c))} {
			if strings.Contains(dump.String(), form) {
				t.Errorf("%s shows in Redis", c)
			}
		}
	}
}

func metric(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	return testutil.ToFloat64(c)
}
