package tokens

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
)

var (
	errClosed  = errors.New("this process is shutting down")
	errNoRedis = errors.New("redis does not answer")
)

const (
	// finalBudget bounds the writes after a login: by then the costly part is
	// done, and its result is worth some patience.
	finalBudget = time.Second
	// firstBudget bounds the very first question of a process, which pays for
	// connecting, too.
	firstBudget = 2 * time.Second
)

// link is what a Source and a Gate share: one credential's keys, the way to
// Redis with its budget and breaker, the cool-down, and the goroutines to wait
// for at the end.
type link struct {
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

	keys    atomic.Pointer[keyset]
	retryAt atomic.Int64 // Redis is left alone until then (clock)
	cool    atomic.Pointer[coolDown]
	parked  atomic.Bool

	orphan   atomic.Pointer[string] // see strand
	settling atomic.Bool
}

func newLink(rdb redis.UniversalClient, p Profile, opts []Option) *link {
	p = p.withDefaults()
	l := &link{settings: newSettings(p, opts), rdb: rdb, profile: p}
	if l.salt == nil {
		l.salt = seal.NewSalt(rdb)
	}
	l.count = l.metrics.of(p.Name)
	l.start = l.now()
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// clock is the time since the start in nanoseconds. It never goes back.
func (l *link) clock() int64 { return int64(l.now().Sub(l.start)) }

// enter registers work that Close waits for; it reports false after Close.
func (l *link) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	return true
}

// Close ends waits and logins under way, gives leases back and waits until all
// is quiet.
func (l *link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}

// sleep waits for d, or less if the process shuts down or ctx ends.
func (l *link) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return &UnavailableError{Profile: l.profile.Name, Err: errClosed}
	}
}

// within runs fn with a time limit that holds even where fn does not honour its
// ctx: go-redis does so only with ContextTimeoutEnabled, and dials several
// times. A late result is dropped; the goroutine that waits for it ends with the
// client's own timeouts, and Close does not wait for it.
func within[T any](limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var zero T
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	done := make(chan outcome, 1)
	defer cancel()
	go func() {
		v, err := fn(ctx)
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return zero, errNoRedis
	}
}

// run asks Redis one thing, unless the breaker is open. Any error means that
// Redis is of no use at the moment.
func (l *link) run(script *redis.Script, keys *keyset, args ...any) (reply, error) {
	if l.clock() < l.retryAt.Load() {
		return nil, errNoRedis
	}
	r, err := l.tell(l.budget, script, keys, args...)
	if err != nil {
		l.trip()
	}
	return r, err
}

// tell asks regardless of the breaker, and does not open it.
func (l *link) tell(limit time.Duration, script *redis.Script, keys *keyset, args ...any) (reply, error) {
	r, err := within(limit, func(ctx context.Context) ([]string, error) {
		return script.Run(ctx, l.rdb, keys.all, args...).StringSlice()
	})
	if err == nil && len(r) == 0 {
		err = errors.New("empty reply")
	}
	if err != nil {
		return nil, fmt.Errorf("ask redis: %w", err)
	}
	return reply(r), nil
}

// trip leaves Redis alone for 1 to 5 seconds. It may come back empty.
func (l *link) trip() {
	l.salt.Doubt()
	l.retryAt.Store(l.clock() + int64(time.Second) + rand.Int64N(int64(4*time.Second)))
}

// redisIn is how long Redis is still left alone, at least a little.
func (l *link) redisIn() time.Duration {
	return max(time.Duration(l.retryAt.Load()-l.clock()), 250*time.Millisecond)
}

// keyset gives the credential's keys. They hang on the salt, so the first call
// needs Redis; later ones compare it now and then.
func (l *link) keyset() (*keyset, error) {
	known := l.keys.Load()
	if l.clock() < l.retryAt.Load() {
		return known, errNoRedis
	}
	limit := l.budget
	if known == nil {
		limit = max(limit, firstBudget)
	}
	salt, err := within(limit, l.salt.Check)
	if err != nil {
		l.trip()
		return known, fmt.Errorf("ask redis: %w", err)
	}
	if known == nil || known.salt != string(salt) {
		known = l.profile.keyset(salt)
		l.keys.Store(known)
	}
	return known, nil
}

// nonce names the next lease. If the fate of the last question is unknown, its
// lease may be ours: asking under the same name gets it back.
func (l *link) nonce() string {
	if n := l.orphan.Swap(nil); n != nil {
		return *n
	}
	return crand.Text()
}

// strand remembers a lease that may have been granted without our hearing of
// it, and gives it back once Redis answers, unless a later flight takes it up
// before. A frozen Redis carries out what it was asked when it wakes up, in any
// order; so the lease is given back twice.
func (l *link) strand(keys *keyset, nonce string) {
	l.orphan.Store(&nonce)
	if !l.settling.CompareAndSwap(false, true) {
		return
	}
	if !l.enter() {
		return
	}
	go func() {
		defer l.wg.Done()
		defer l.settling.Store(false)
		if l.sleep(l.ctx, l.redisIn()) != nil {
			return
		}
		n := l.orphan.Swap(nil)
		if n == nil {
			return
		}
		for answers, end := 0, l.clock()+3*int64(l.lease); answers < 2 && l.clock() < end; {
			wait := 250 * time.Millisecond
			if _, err := l.run(releaseScript, keys, *n); err == nil {
				answers++
			} else {
				wait = l.redisIn()
			}
			if l.sleep(l.ctx, wait) != nil {
				return
			}
		}
	}()
}

// note announces a change of state, once.
func (l *link) note(parked bool) {
	if l.parked.Swap(parked) == parked {
		return
	}
	kind := Resumed
	if parked {
		kind = Parked
	}
	l.announce(Event{Kind: kind, Profile: l.profile.Name})
}

// reply is a script's answer, all text.
type reply []string

func (r reply) text(i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

func (r reply) int(i int) int64 {
	n, _ := strconv.ParseInt(r.text(i), 10, 64)
	return n
}

// ms reads a time in milliseconds; what is negative (no such key) counts as 0.
func (r reply) ms(i int) time.Duration {
	return time.Duration(max(r.int(i), 0)) * time.Millisecond
}
