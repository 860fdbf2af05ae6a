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

	"errand.internal/internal/redisscript"
)

// SaltKey is the Redis key of the salt.
const SaltKey = "errand:salt"

const (
	// saltMaxAge is how long a salt is used before it is compared with the stored
	// one, so that processes agree again after Redis has been emptied.
	saltMaxAge = 5 * time.Minute
	// saltRetry is how long a known salt is used after Redis did not answer.
	saltRetry = 10 * time.Second
)

// saltScript returns the stored salt; without one it stores ARGV[1].
var saltScript = redisscript.New(`
local v = redis.call('GET', KEYS[1])
if v and #v > 0 then return v end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]`)

// Salt is a random value that is generated once per Redis and stored in it. IDs
// and fingerprints are keyed with it, so that they reveal nothing. It is gone
// when the state it protects is gone. The encryption keys are not used for this,
// because their rotation would change every ID. Safe for concurrent use.
type Salt struct {
	rdb redis.UniversalClient
	now func() time.Time

	mu      sync.Mutex
	value   []byte
	checked time.Time
}

// NewSalt makes a reader of rdb's salt. It does not ask Redis yet.
func NewSalt(rdb redis.UniversalClient) *Salt {
	return &Salt{rdb: rdb, now: time.Now}
}

// Get returns the salt. It asks Redis the first time and then every five
// minutes. If Redis does not answer, it returns the value it knows, or else the
// error: IDs made with a salt of its own would be of no use to other processes.
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
	s.checked = s.now().Add(saltRetry - saltMaxAge)
	return s.value, nil
}

// Check is Get, but fails if the salt is due for a comparison and Redis does not
// answer. It sends the value it knows: if Redis has been emptied, the first
// process to ask restores the old salt, and all others take the stored one.
func (s *Salt) Check(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	known, checked := s.value, s.checked
	s.mu.Unlock()
	if known != nil && s.now().Sub(checked) < saltMaxAge {
		return known, nil
	}
	offer := string(known)
	if known == nil {
		fresh := make([]byte, 32)
		_, _ = rand.Read(fresh) // crypto/rand never fails
		offer = base64.RawStdEncoding.EncodeToString(fresh)
	}
	reply, err := saltScript.Run(ctx, s.rdb, []string{SaltKey}, offer)
	if err != nil {
		return nil, fmt.Errorf("read the salt: %w", err)
	}
	stored := reply.Text(0)
	if stored == "" {
		return nil, errors.New("read the salt: the stored salt is empty")
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

// HMAC returns the HMAC-SHA256, keyed with a salt, of Join(label, parts...).
func HMAC(salt []byte, label string, parts ...string) []byte {
	mac := hmac.New(sha256.New, salt)
	_, _ = mac.Write(Join(label, parts...))
	return mac.Sum(nil)
}

// Join concatenates a label and parts, each behind its length in 8 bytes, so
// that ("ab", "c") and ("a", "bc") differ.
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
