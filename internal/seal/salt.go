package seal

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// SaltKey is the Redis key under which the salt lives.
const SaltKey = "errand:salt"

// saltFresh is how long a salt that was read is believed. Then it is compared
// again, so that processes agree once more after Redis has been emptied.
const saltFresh = 5 * time.Minute

// saltPause is how long a known salt is believed after Redis did not answer.
const saltPause = 10 * time.Second

// keepSalt returns the stored salt; ARGV[1] takes its place if there is none.
var keepSalt = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v and #v > 0 then return v end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]`)

// Salt is a random value that is made once per Redis and lives in it. IDs and
// fingerprints are keyed with it, so that they reveal nothing, and so that they
// live and die with the state they protect; the encryption keys play no part,
// or their rotation would change every ID. Safe for concurrent use.
type Salt struct {
	rdb redis.UniversalClient
	now func() time.Time

	mu      sync.Mutex
	value   []byte
	checked time.Time
}

// NewSalt makes the reader of rdb's salt. It does not ask Redis yet.
func NewSalt(rdb redis.UniversalClient) *Salt {
	return &Salt{rdb: rdb, now: time.Now}
}

// Get returns the salt. It asks Redis the first time and then every five
// minutes. If Redis does not answer, a value read earlier is returned, else the
// error: a salt invented by one process would give IDs that no other process
// finds.
func (s *Salt) Get(ctx context.Context) ([]byte, error) {
	value, err := s.Check(ctx)
	if err == nil {
		return value, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == nil {
		return nil, err
	}
	s.checked = s.now().Add(saltPause - saltFresh)
	return s.value, nil
}

// Check is Get for callers who want to know if Redis did not answer when it was
// its turn to be asked. Whoever asks offers the value it knows: should Redis
// have been emptied, the first process to ask brings the old salt back, and
// every process takes what is stored.
func (s *Salt) Check(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	known, checked := s.value, s.checked
	s.mu.Unlock()
	if known != nil && s.now().Sub(checked) < saltFresh {
		return known, nil
	}
	offer := string(known)
	if known == nil {
		fresh := make([]byte, 32)
		_, _ = rand.Read(fresh) // never fails (crypto/rand)
		offer = base64.RawStdEncoding.EncodeToString(fresh)
	}
	stored, err := keepSalt.Run(ctx, s.rdb, []string{SaltKey}, offer).Text()
	if err == nil && stored == "" {
		err = errors.New("the stored salt is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("read the salt: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(s.value) != stored {
		s.value = []byte(stored)
	}
	s.checked = s.now()
	return s.value, nil
}

// Invalidate makes the next call ask Redis, which may have been restarted empty.
func (s *Salt) Invalidate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked = time.Time{}
}

// HMAC returns HMAC-SHA256, keyed with a salt, of a label and parts. Every part
// carries its length, so that ("ab", "c") and ("a", "bc") differ.
func HMAC(salt []byte, label string, parts ...string) []byte {
	mac := hmac.New(sha256.New, salt)
	_, _ = mac.Write(Join(label, parts...))
	return mac.Sum(nil)
}

// Join writes a label and parts one after the other, each behind its length in
// 8 bytes: no two lists give the same text.
func Join(label string, parts ...string) []byte {
	size := 8 + len(label)
	for _, p := range parts {
		size += 8 + len(p)
	}
	out := make([]byte, 0, size)
	out = binary.BigEndian.AppendUint64(out, uint64(len(label)))
	out = append(out, label...)
	for _, p := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}
