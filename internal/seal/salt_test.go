package seal_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
)

func salt(t *testing.T, s *seal.Salt) []byte {
	t.Helper()
	got, err := s.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAllProcessesGetTheSameSalt(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	got := make([][]byte, 20)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			value, err := seal.NewSalt(rdb).Get(t.Context())
			if err != nil {
				t.Error(err)
			}
			got[i] = value
		})
	}
	wg.Wait()
	for _, g := range got {
		if len(g) < 32 || !bytes.Equal(g, got[0]) {
			t.Fatalf("salts %q and %q", g, got[0])
		}
	}
	if ttl := rdb.TTL(t.Context(), seal.SaltKey).Val(); ttl != -1 {
		t.Errorf("the salt expires in %v", ttl)
	}
	if bytes.Equal(got[0], salt(t, seal.NewSalt(redistest.New(t).Client()))) {
		t.Error("two Redis have the same salt")
	}
}

// After Redis was emptied the first process to ask restores the salt it knows,
// and processes that know another one take it.
func TestSaltAfterRedisWasEmptied(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	old := seal.NewSalt(rdb)
	before := salt(t, old)
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(salt(t, old), before) {
		t.Error("a salt that was read lately has changed")
	}
	old.Invalidate()
	if !bytes.Equal(salt(t, old), before) || !bytes.Equal(salt(t, seal.NewSalt(rdb)), before) {
		t.Error("the known salt was not restored")
	}

	if err := rdb.Set(t.Context(), seal.SaltKey, "another process was faster", 0).Err(); err != nil {
		t.Fatal(err)
	}
	old.Invalidate()
	if got := salt(t, old); string(got) != "another process was faster" {
		t.Errorf("salt = %q, want the stored one", got)
	}
}

func TestSaltWithoutRedis(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr(), MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	known, unknown := seal.NewSalt(rdb), seal.NewSalt(rdb)
	before := salt(t, known)
	srv.Stop()
	if got, err := unknown.Get(t.Context()); err == nil {
		t.Errorf("Get = %q without Redis, want an error and no salt of its own", got)
	}
	known.Invalidate()
	if _, err := known.Check(t.Context()); err == nil {
		t.Error("Check without Redis gave no error")
	}
	if got := salt(t, known); !bytes.Equal(got, before) {
		t.Errorf("Get = %q, want the salt that was read before", got)
	}
}

func TestHMAC(t *testing.T) {
	t.Parallel()
	base := seal.HMAC([]byte("salt"), "id", "ab", "c")
	if len(base) != 32 || !bytes.Equal(base, seal.HMAC([]byte("salt"), "id", "ab", "c")) {
		t.Fatalf("HMAC = %x", base)
	}
	for name, other := range map[string][]byte{
		"another salt":            seal.HMAC([]byte("pepper"), "id", "ab", "c"),
		"another label":           seal.HMAC([]byte("salt"), "di", "ab", "c"),
		"parts split differently": seal.HMAC([]byte("salt"), "id", "a", "bc"),
		"label and part":          seal.HMAC([]byte("salt"), "idab", "c"),
		"an empty part":           seal.HMAC([]byte("salt"), "id", "ab", "c", ""),
		"the other order":         seal.HMAC([]byte("salt"), "id", "c", "ab"),
		"label as a part":         seal.HMAC([]byte("salt"), "", "id", "ab", "c"),
		"one part for both":       seal.HMAC([]byte("salt"), "id", "abc"),
	} {
		if bytes.Equal(base, other) {
			t.Errorf("%s: the same HMAC", name)
		}
	}
}
