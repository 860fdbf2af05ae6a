package limits

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
)

const (
	// askFor bounds one question to Redis.
	askFor = time.Second
	// callSlack is by how much a permit's lease exceeds the call.
	callSlack = 3 * time.Second
	// restMost is the longest rest that a vendor's 429 is believed.
	restMost = time.Hour
)

// Ask is what a Limiter needs to know of a caller.
type Ask struct {
	// Task keeps a place in the line; "" keeps none.
	Task string
	// Underway: the task was let go just before, and this is its next call.
	Underway bool
	// Patience is how long the caller may wait here: for a moment when it comes for
	// the first time, all of it when its time has come.
	Patience time.Duration
	// Horizon is how long the task has left. A place beyond it is not given.
	Horizon time.Duration
}

// Pass is the leave to make one call.
type Pass interface {
	// Exhausted says that the vendor refused the call because the account's calls
	// are used up: nobody goes for that long. after is the vendor's own word, 0 if
	// it gave none.
	Exhausted(ctx context.Context, after time.Duration)
	// Leave must be called once, when the call has ended.
	Leave(ctx context.Context)
}

// WaitError says that a call must wait for its account's limits, longer than the
// caller could.
type WaitError struct {
	// Limit names what is waited for: "dinero-123456:rate" or
	// "dinero-123456:concurrency".
	Limit string
	// Reason in our own words.
	Reason string
	// RetryAfter is when it is the task's turn.
	RetryAfter time.Duration
}

// Error implements error.
func (e *WaitError) Error() string {
	return e.Reason + "; its turn is in " + e.RetryAfter.Round(time.Millisecond).String()
}

// Limiter keeps the limits of one account with every process that has the same
// account and the same Redis. Safe for concurrent use.
type Limiter struct {
	options
	rdb     redis.UniversalClient
	salt    *seal.Salt
	account Account
	count   *counters
	keys    atomic.Pointer[keyset]

	interval, slack int64
	policy          string
}

// keyset is the Redis keys of one account, in the order of the scripts.
type keyset struct {
	salt string
	all  []string
}

// New makes the Limiter of an account that has limits. It does not ask Redis
// yet.
func New(rdb redis.UniversalClient, salt *seal.Salt, a Account, opts ...Option) *Limiter {
	l := &Limiter{options: newOptions(opts), rdb: rdb, salt: salt, account: a}
	l.count = l.metrics.of(a.Name)
	l.interval, l.slack = bucket(a.Rate)
	l.policy = a.String()
	return l
}

// Account tells whose limits they are.
func (l *Limiter) Account() Account { return l.account }

// Enter waits for leave to make one call. Its errors are *WaitError or the
// context's. While Redis does not answer everybody goes.
func (l *Limiter) Enter(ctx context.Context, a Ask) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &pass{limiter: l}
	if l.account.AtOnce > 0 {
		p.permit = rand.Text()
	}
	began, waited := l.now(), false
	for {
		r, err := l.enter(ctx, p.permit, a, max(a.Patience-l.now().Sub(began), 0))
		if err != nil {
			if ctx.Err() != nil {
				p.Leave(context.WithoutCancel(ctx)) // Redis may have heard the question
				return nil, ctx.Err()
			}
			l.count.unasked.Inc()
			p.began = l.now()
			return p, nil
		}
		wait := r.micros(1)
		switch r.text(0) {
		case "wait":
			l.count.parked.Inc()
			return nil, l.waitError(r.text(2), wait)
		case "soon":
			wait += time.Duration(mrand.Int64N(int64(wait)/10 + 1)) // several who ask at once do not do so again
		}
		if wait > 0 && !waited {
			waited = true
			l.count.inPlace.Inc()
		}
		if err := l.sleep(ctx, wait); err != nil {
			p.Leave(context.WithoutCancel(ctx))
			return nil, err
		}
		if r.text(0) == "go" {
			p.began = l.now()
			return p, nil
		}
	}
}

func (l *Limiter) waitError(why string, wait time.Duration) *WaitError {
	e := &WaitError{Limit: l.account.rateName(), RetryAfter: wait}
	switch why {
	case "closed":
		e.Reason = "the vendor has said that the calls of " + l.account.Name + " are used up"
	case "concurrency":
		e.Limit = l.account.concurrencyName()
		e.Reason = fmt.Sprintf("%s has %d calls under way, which is its limit", l.account.Name, l.account.AtOnce)
	default:
		e.Reason = "it waits for the rate of " + l.account.Name + " (" + l.account.Rate.String() + ")"
	}
	return e
}

func (l *Limiter) enter(ctx context.Context, permit string, a Ask, patience time.Duration) (reply, error) {
	underway := "0"
	if a.Underway {
		underway = "1"
	}
	lease := l.account.Call + callSlack
	return l.run(ctx, enterScript, l.interval, l.slack, int(l.account.AtOnce), l.policy, permit, lease.Microseconds(),
		a.Task, underway, patience.Microseconds(), a.Horizon.Microseconds())
}

// pass is a Pass.
type pass struct {
	limiter *Limiter
	permit  string // "" if there are none
	began   time.Time
}

// Exhausted implements Pass.
func (p *pass) Exhausted(ctx context.Context, after time.Duration) {
	l := p.limiter
	l.count.closed.Inc()
	if after <= 0 {
		after = l.account.rest()
	}
	// If Redis does not hear it, the next call does.
	_, _ = l.run(ctx, closeScript, min(after, restMost).Microseconds())
}

// Leave implements Pass.
func (p *pass) Leave(ctx context.Context) {
	if p.permit == "" {
		return
	}
	took := int64(0) // the call was never made
	if !p.began.IsZero() {
		took = max(p.limiter.now().Sub(p.began).Microseconds(), 1)
	}
	// If Redis does not hear it, the lease ends by itself.
	_, _ = p.limiter.run(ctx, leaveScript, p.permit, took)
}

// run asks Redis one thing, for askFor at most.
func (l *Limiter) run(ctx context.Context, script *redis.Script, args ...any) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	keys, err := l.keyset(ctx)
	if err != nil {
		return nil, err
	}
	said, err := script.Run(ctx, l.rdb, keys.all, append([]any{l.redisNow()}, args...)...).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("ask redis: %w", err)
	}
	return reply(said), nil
}

func (l *Limiter) keyset(ctx context.Context) (*keyset, error) {
	salt, err := l.salt.Get(ctx)
	if err != nil {
		return nil, err
	}
	known := l.keys.Load()
	if known == nil || known.salt != string(salt) {
		base := key(salt, l.account.Name, l.account.Identity) + ":"
		known = &keyset{salt: string(salt), all: []string{base + "s", base + "q", base + "t", base + "p"}}
		l.keys.Store(known)
	}
	return known, nil
}

// key is what the keys of one thing begin with. The braces are the hash tag of
// Redis Cluster.
func key(salt []byte, name string, identity []string) string {
	name = strings.NewReplacer("{", "_", "}", "_").Replace(name)
	return "limit:{" + name + ":" + hex.EncodeToString(seal.HMAC(salt, "limit "+name, identity...)[:16]) + "}"
}

// reply is a script's answer, all text.
type reply []string

func (r reply) text(i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

func (r reply) int(i int) int {
	n, _ := strconv.Atoi(r.text(i))
	return n
}

// micros reads a time in microseconds; what is negative counts as 0.
func (r reply) micros(i int) time.Duration {
	n, err := strconv.ParseFloat(r.text(i), 64)
	if err != nil || !(n > 0) {
		return 0
	}
	return time.Duration(min(math.Ceil(n), math.MaxInt64/2048)) * time.Microsecond
}
