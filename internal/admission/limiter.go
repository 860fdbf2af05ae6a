package admission

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

const (
	// permitSlack is by how much a permit's lease exceeds the call.
	permitSlack = 3 * time.Second
	// maxQuotaPause is the longest pause that a vendor's 429 is believed.
	maxQuotaPause = time.Hour
)

// Limiter keeps the limits of one account, together with every process that has the
// same account and the same Redis. It is safe for concurrent use.
type Limiter struct {
	store
	limits   Limits
	count    *limitCounters
	interval int64
	slack    int64
	policy   string
}

// NewLimiter returns the Limiter of an account. It does not use Redis yet.
func NewLimiter(rdb redis.UniversalClient, salt *seal.Salt, limits Limits, opts ...Option) *Limiter {
	l := &Limiter{
		store:  newStore(rdb, salt, limits.Name, limits.Identity, opts, "s", "q", "t", "p"),
		limits: limits,
		policy: limits.String(),
	}
	l.count = l.metrics.limitsOf(limits.Name)
	l.interval, l.slack = bucket(limits.Rate)
	return l
}

// Limits returns what the account is allowed.
func (l *Limiter) Limits() Limits {
	return l.limits
}

// Acquire waits until the limits admit one call. Its errors are *Blocked or the
// context's. While Redis does not answer, every call is admitted.
func (l *Limiter) Acquire(ctx context.Context, r Request) (Permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &limitPermit{limiter: l}
	if l.limits.Concurrency > 0 {
		p.nonce = rand.Text()
	}
	began := l.now()
	waited := false
	for {
		reply, err := l.acquire(ctx, p.nonce, r, max(r.MaxWait-l.now().Sub(began), 0))
		if err != nil {
			if ctx.Err() != nil {
				p.release(ctx, 0) // Redis may have got the question
				return nil, ctx.Err()
			}
			l.count.unasked.Inc()
			p.began = l.now()
			return p, nil
		}
		wait := reply.Micros(1)
		switch reply.Text(0) {
		case "wait":
			l.count.parked.Inc()
			return nil, l.blocked(reply.Text(2), wait)
		case "soon":
			// Several who ask at once do not do so again.
			wait += time.Duration(mathrand.Int64N(int64(wait)/10 + 1))
		}
		if wait > 0 && !waited {
			waited = true
			l.count.waitedHere.Inc()
		}
		if err := l.sleep(ctx, wait); err != nil {
			p.release(ctx, 0)
			return nil, err
		}
		if reply.Text(0) == "go" {
			p.began = l.now()
			return p, nil
		}
	}
}

func (l *Limiter) blocked(why string, wait time.Duration) *Blocked {
	b := &Blocked{
		Key:        l.limits.rateName(),
		RetryAfter: wait,
		Turn:       true,
	}
	switch why {
	case "closed":
		b.Reason = "the vendor has said that the calls of " + l.limits.Name + " are used up"
	case "concurrency":
		b.Key = l.limits.concurrencyName()
		b.Reason = fmt.Sprintf("%s has %d calls under way, which is its limit", l.limits.Name, l.limits.Concurrency)
	default:
		b.Reason = "it waits for the rate of " + l.limits.Name + " (" + l.limits.Rate.String() + ")"
	}
	return b
}

func (l *Limiter) acquire(
	ctx context.Context,
	nonce string,
	r Request,
	maxWait time.Duration,
) (redisscript.Reply, error) {
	underway := "0"
	if r.Underway {
		underway = "1"
	}
	return l.run(
		ctx,
		acquireScript,
		l.interval,
		l.slack,
		int(l.limits.Concurrency),
		l.policy,
		nonce,
		(l.limits.CallTimeout + permitSlack).Microseconds(),
		r.Task,
		underway,
		maxWait.Microseconds(),
		r.Deadline.Microseconds(),
	)
}

// limitPermit is the permit of a Limiter.
type limitPermit struct {
	limiter *Limiter
	nonce   string // "" without a limit of concurrency
	began   time.Time
}

// Done implements Permit.
func (p *limitPermit) Done(ctx context.Context, r Result) {
	if r.Verdict == Exhausted {
		p.pause(ctx, r.RetryAfter)
	}
	p.release(ctx, max(p.limiter.now().Sub(p.began).Microseconds(), 1))
}

// pause has nobody go for as long as the vendor says.
func (p *limitPermit) pause(ctx context.Context, after time.Duration) {
	l := p.limiter
	l.count.exhausted.Inc()
	if after <= 0 {
		after = l.limits.quotaPause()
	}
	// If Redis does not answer, the next call learns it from the vendor.
	_, _ = l.run(context.WithoutCancel(ctx), pauseScript, min(after, maxQuotaPause).Microseconds())
}

// release gives the permit back. took is how long the call took, 0 if it was not made.
func (p *limitPermit) release(ctx context.Context, took int64) {
	if p.nonce == "" {
		return
	}
	// If Redis does not answer, the lease expires by itself.
	_, _ = p.limiter.run(context.WithoutCancel(ctx), releaseScript, p.nonce, took)
}
