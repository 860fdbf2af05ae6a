package tokens

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

var (
	errClosed  = errors.New("this process is shutting down")
	errNoRedis = errors.New("redis does not answer")
)

const (
	// commitTimeout bounds the writes after a login. They get more time than
	// other requests, because a lost write costs another login.
	commitTimeout = time.Second
	// connectTimeout bounds the very first request of a process, which has to
	// connect as well.
	connectTimeout = 2 * time.Second
)

// sharedState is what a Source and a Gate share: one credential's keys, access
// to Redis with a timeout and a circuit breaker, the cool-down, and the
// goroutines that Close waits for.
type sharedState struct {
	settings
	rdb     redis.UniversalClient
	profile Profile
	count   *counters
	start   time.Time

	// ctx carries no values of any caller: a login must not report to the
	// attempt of the task that happened to need it.
	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup

	keys         atomic.Pointer[keyset]
	redisRetryAt atomic.Int64 // the breaker is open until then (clock)
	coolDown     atomic.Pointer[coolDown]
	parked       atomic.Bool

	orphanedLease atomic.Pointer[string] // its nonce; see releaseLater
	releasing     atomic.Bool
}

func newSharedState(rdb redis.UniversalClient, p Profile, opts []Option) *sharedState {
	p = p.withDefaults()
	s := &sharedState{
		settings: newSettings(p, opts),
		rdb:      rdb,
		profile:  p,
	}
	if s.salt == nil {
		s.salt = seal.NewSalt(rdb)
	}
	s.count = s.metrics.of(p.Name)
	s.start = s.now()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// clock is the time since the start in nanoseconds. It is monotonic.
func (s *sharedState) clock() int64 {
	return int64(s.now().Sub(s.start))
}

// beginWork registers work that Close waits for; the caller ends it with
// wg.Done. It reports false after Close.
func (s *sharedState) beginWork() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

// Close ends waits and logins in flight, gives leases back and waits until all
// work has ended.
func (s *sharedState) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// sleep waits for d. It returns early, with an error, on Close or when ctx ends.
func (s *sharedState) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return &UnavailableError{Profile: s.profile.Name, Err: errClosed}
	}
}

// withTimeout runs fn with a time limit that holds even if fn ignores its ctx:
// go-redis honours it only with ContextTimeoutEnabled, and dials several times.
// A late result is dropped. The goroutine that waits for it ends with the
// client's own timeouts, and Close does not wait for it.
func withTimeout[T any](limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		v, err := fn(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return zero, errNoRedis
	}
}

// run runs a script unless the breaker is open. Any error opens it.
func (s *sharedState) run(script *redisscript.Script, keys *keyset, args ...any) (redisscript.Reply, error) {
	if s.clock() < s.redisRetryAt.Load() {
		return nil, errNoRedis
	}
	reply, err := s.runDirect(s.redisTimeout, script, keys, args...)
	if err != nil {
		s.openBreaker()
	}
	return reply, err
}

// runDirect runs a script whatever the state of the breaker, and leaves that
// state alone.
func (s *sharedState) runDirect(
	limit time.Duration,
	script *redisscript.Script,
	keys *keyset,
	args ...any,
) (redisscript.Reply, error) {
	reply, err := withTimeout(limit, func(ctx context.Context) (redisscript.Reply, error) {
		return script.Run(ctx, s.rdb, keys.all, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("ask redis: %w", err)
	}
	return reply, nil
}

// openBreaker stops requests to Redis for 1 to 5 seconds. Redis may have lost
// the salt when it answers again, so that is checked first.
func (s *sharedState) openBreaker() {
	s.salt.Invalidate()
	s.redisRetryAt.Store(s.clock() + int64(time.Second) + rand.Int64N(int64(4*time.Second)))
}

// redisRetryIn is how long the breaker stays open, and 250 ms at least.
func (s *sharedState) redisRetryIn() time.Duration {
	return max(time.Duration(s.redisRetryAt.Load()-s.clock()), 250*time.Millisecond)
}

// keyset gives the credential's keys. They depend on the salt, so the first
// call needs Redis; later ones compare it now and then.
func (s *sharedState) keyset() (*keyset, error) {
	known := s.keys.Load()
	if s.clock() < s.redisRetryAt.Load() {
		return known, errNoRedis
	}
	limit := s.redisTimeout
	if known == nil {
		limit = max(limit, connectTimeout)
	}
	salt, err := withTimeout(limit, s.salt.Check)
	if err != nil {
		s.openBreaker()
		return known, fmt.Errorf("ask redis: %w", err)
	}
	if known == nil || known.salt != string(salt) {
		known = s.profile.keyset(salt)
		s.keys.Store(known)
	}
	return known, nil
}

// leaseNonce names the next lease. If the last request got no reply, its lease
// may have been granted: a request with the same nonce takes it over.
func (s *sharedState) leaseNonce() string {
	if n := s.orphanedLease.Swap(nil); n != nil {
		return *n
	}
	return crand.Text()
}

// releaseLater gives back a lease that may have been granted without a reply,
// once Redis answers, unless a later fetch takes it over before. A frozen Redis
// runs the requests of several connections in any order when it wakes up, so
// the lease is given back twice.
func (s *sharedState) releaseLater(keys *keyset, nonce string) {
	s.orphanedLease.Store(&nonce)
	if !s.releasing.CompareAndSwap(false, true) {
		return
	}
	if !s.beginWork() {
		return
	}
	go func() {
		defer s.wg.Done()
		defer s.releasing.Store(false)
		if s.sleep(s.ctx, s.redisRetryIn()) != nil {
			return
		}
		if n := s.orphanedLease.Swap(nil); n != nil {
			s.releaseTwice(keys, *n)
		}
	}()
}

func (s *sharedState) releaseTwice(keys *keyset, nonce string) {
	end := s.clock() + 3*int64(s.lease)
	for released := 0; released < 2 && s.clock() < end; {
		wait := 250 * time.Millisecond
		if _, err := s.run(releaseScript, keys, nonce); err == nil {
			released++
		} else {
			wait = s.redisRetryIn()
		}
		if s.sleep(s.ctx, wait) != nil {
			return
		}
	}
}

// notify calls onChange if parked is news.
func (s *sharedState) notify(parked bool) {
	if s.parked.Swap(parked) == parked {
		return
	}
	kind := Resumed
	if parked {
		kind = Parked
	}
	s.onChange(Change{Kind: kind, Profile: s.profile.Name})
}
