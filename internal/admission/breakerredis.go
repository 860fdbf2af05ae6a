package admission

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"errand.internal/internal/redisscript"
)

// ErrClosed is the cause of an error after Close.
var ErrClosed = errors.New("this process is shutting down")

var errNoRedis = errors.New("redis does not answer")

const (
	// CommitTimeout bounds the writes after a login or a probe. They get more time than
	// other requests, because a lost write costs another one.
	CommitTimeout = 5 * time.Second
	// maxPatience bounds the requests without which this process would log in, or probe, for
	// itself. A Redis that is slow for a moment must not cost a login per process: with a
	// wrong password, that locks the account.
	maxPatience = 2 * time.Second
)

// Clock is the time since the start in nanoseconds. It is monotonic.
func (b *Breaker) Clock() int64 {
	return int64(b.timeNow().Sub(b.start))
}

// BeginWork registers work that Close waits for; the caller ends it with EndWork. It
// reports false after Close.
func (b *Breaker) BeginWork() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.wg.Add(1)
	return true
}

// EndWork ends work that BeginWork registered.
func (b *Breaker) EndWork() {
	b.wg.Done()
}

// Context ends on Close. It carries no values of any caller: a login must not report to
// the attempt of the task that happened to need it.
func (b *Breaker) Context() context.Context {
	return b.ctx
}

// Close ends waits and logins in flight, gives leases back and waits until all
// work has ended.
func (b *Breaker) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
}

// Sleep waits for d. It returns early, with an error, on Close or when ctx ends.
func (b *Breaker) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		return b.Unavailable(0, ErrClosed)
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

// Run runs a script unless Redis failed a moment ago. After an error Redis is left alone
// for 1 to 5 seconds.
func (b *Breaker) Run(script *redisscript.Script, keys []string, args ...any) (redisscript.Reply, error) {
	return b.runUnlessAvoided(b.limit(), script, keys, args...)
}

// Ask is Run for a script that allows a login or a probe: it has more patience.
func (b *Breaker) Ask(script *redisscript.Script, keys []string, args ...any) (redisscript.Reply, error) {
	return b.runUnlessAvoided(b.patience(), script, keys, args...)
}

// patience is how long Redis may take before this process goes on without it. What works
// here goes on at once.
func (b *Breaker) patience() time.Duration {
	if b.trusted.Load() {
		return b.limit()
	}
	return max(b.limit(), maxPatience)
}

func (b *Breaker) runUnlessAvoided(
	limit time.Duration,
	script *redisscript.Script,
	keys []string,
	args ...any,
) (redisscript.Reply, error) {
	if b.Clock() < b.redisRetryAt.Load() {
		return nil, errNoRedis
	}
	reply, err := b.RunDirect(limit, script, keys, args...)
	if err != nil {
		b.avoidRedis()
	}
	return reply, err
}

// RunDirect runs a script even if Redis failed a moment ago, and draws no conclusion from
// its own failure.
func (b *Breaker) RunDirect(
	limit time.Duration,
	script *redisscript.Script,
	keys []string,
	args ...any,
) (redisscript.Reply, error) {
	reply, err := withTimeout(limit, func(ctx context.Context) (redisscript.Reply, error) {
		return script.Run(ctx, b.rdb, keys, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("ask redis: %w", err)
	}
	return reply, nil
}

// avoidRedis stops requests to Redis for 1 to 5 seconds. Redis may have lost the salt
// when it answers again, so that is checked first.
func (b *Breaker) avoidRedis() {
	b.salt.Invalidate()
	b.AvoidRedis(time.Second + rand.N(4*time.Second))
}

// AvoidRedis has Run leave Redis alone for d.
func (b *Breaker) AvoidRedis(d time.Duration) {
	b.redisRetryAt.Store(b.Clock() + int64(d))
}

// SetRedisTimeout changes the timeout of WithRedisTimeout before the next request, for
// tests.
func (b *Breaker) SetRedisTimeout(d time.Duration) {
	b.redisLimit.Store(int64(d))
}

// limit is the timeout of a request.
func (b *Breaker) limit() time.Duration {
	return time.Duration(b.redisLimit.Load())
}

// RedisRetryIn is how long Redis is still left alone, and 250 ms at least.
func (b *Breaker) RedisRetryIn() time.Duration {
	return max(time.Duration(b.redisRetryAt.Load()-b.Clock()), 250*time.Millisecond)
}

// Keys gives the profile's keys. They depend on the salt, so the first
// call needs Redis; later ones compare it now and then.
func (b *Breaker) Keys() (*Keys, error) {
	known := b.keys.Load()
	if b.Clock() < b.redisRetryAt.Load() {
		return known, errNoRedis
	}
	salt, err := withTimeout(b.patience(), b.salt.Check)
	if err != nil {
		b.avoidRedis()
		return known, fmt.Errorf("ask redis: %w", err)
	}
	if known == nil || known.salt != string(salt) {
		known = b.profile.keys(salt)
		b.keys.Store(known)
	}
	return known, nil
}

// GiveUp gives a lease back.
func (b *Breaker) GiveUp(keys *Keys, nonce string) {
	_, _ = b.RunDirect(CommitTimeout, giveUpScript, keys.own, nonce)
}

// LeaseNonce names the next lease. If the last request got no reply, its lease
// may have been granted: a request with the same nonce takes it over.
func (b *Breaker) LeaseNonce() string {
	if n := b.orphanedLease.Swap(nil); n != nil {
		return *n
	}
	return crand.Text()
}

// ReleaseLater gives back a lease that may have been granted without a reply,
// once Redis answers, unless a later probe takes it over before. A frozen Redis
// runs the requests of several connections in any order when it wakes up, so
// the lease is given back twice.
func (b *Breaker) ReleaseLater(keys *Keys, nonce string) {
	b.orphanedLease.Store(&nonce)
	if !b.releasing.CompareAndSwap(false, true) {
		return
	}
	if !b.BeginWork() {
		return
	}
	go func() {
		defer b.wg.Done()
		defer b.releasing.Store(false)
		if b.Sleep(b.ctx, b.RedisRetryIn()) != nil {
			return
		}
		if n := b.orphanedLease.Swap(nil); n != nil {
			b.releaseTwice(keys, *n)
		}
	}()
}

// releaseTwice gives up once Redis has not answered for three leases: what it granted has
// expired by then.
func (b *Breaker) releaseTwice(keys *Keys, nonce string) {
	end := b.Clock() + 3*int64(b.lease)
	for released := 0; released < 2; {
		wait := 250 * time.Millisecond
		_, err := b.Run(giveUpScript, keys.own, nonce)
		switch {
		case err == nil: // also after a suspension of this machine, which may be Redis' too
			released++
		case b.Clock() >= end:
			return
		default:
			wait = b.RedisRetryIn()
		}
		if b.Sleep(b.ctx, wait) != nil {
			return
		}
	}
}

// notify calls onChange if parked is news.
func (b *Breaker) notify(parked bool) {
	if b.parked.Swap(parked) == parked {
		return
	}
	kind := Resumed
	if parked {
		kind = Parked
	}
	b.onChange(Change{Kind: kind, Profile: b.profile.Name})
}
