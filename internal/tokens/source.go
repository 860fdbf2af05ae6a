package tokens

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"

	"errand.internal/internal/admission"
	"errand.internal/internal/metrics"
	"errand.internal/internal/seal"
)

// Shared is the Source of one credential profile, shared with every process
// that has the same credential and the same Redis. Safe for concurrent use.
type Shared struct {
	*admission.Breaker // of the login
	profile            Profile
	count              *counters
	ring               *seal.Ring
	// softFactor scales the soft window of this process, 0.9 to 1.1, so that not
	// all processes refresh at once.
	softFactor float64

	current     atomic.Pointer[localToken]
	rejectedGen atomic.Int64 // generations up to this one are rejected
	nextRefresh atomic.Int64 // no background refresh before it (clock)
	refreshing  atomic.Bool
	waiters     atomic.Int64
	fetches     singleflight.Group
	// sharedGen is the newest shared generation this process has seen; Redis is
	// asked for newer ones only. Generations of local logins do not count.
	sharedGen atomic.Int64

	rejecting       sync.Mutex
	rejectsOffUntil int64 // clock; guarded by rejecting
	suspectOffUntil int64 // clock; guarded by rejecting
}

var _ Source = (*Shared)(nil)

// localToken is the token as this process holds it. It is immutable.
type localToken struct {
	Token
	// From soft on a newer one is fetched in the background; from hard on this
	// one is not handed out.
	soft int64 // clock
	hard int64 // clock
	life time.Duration
}

// NewSource makes the Source of p. It calls neither Redis nor the vendor before
// the first Get. The caller closes it.
func NewSource(
	rdb redis.UniversalClient,
	ring *seal.Ring,
	p Profile,
	metrics *Metrics,
	opts ...admission.Option,
) *Shared {
	if p.Fetch == nil {
		panic("tokens: profile " + p.Name + " has no Fetch")
	}
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	p = p.withDefaults()
	return &Shared{
		Breaker:    admission.NewBreaker(rdb, p.Profile, opts...),
		profile:    p,
		count:      metrics.of(p.Name),
		ring:       ring,
		softFactor: 0.9 + 0.2*rand.Float64(),
	}
}

// Get implements Source. With a fresh local token it costs neither a round trip
// nor an allocation.
func (s *Shared) Get(ctx context.Context) (Token, error) {
	if t := s.current.Load(); t != nil && t.Gen > s.rejectedGen.Load() {
		now := s.Clock()
		if now < t.soft {
			s.count.local.Inc()
			return t.Token, nil
		}
		if now < t.hard {
			s.count.stale.Inc()
			if now >= s.nextRefresh.Load() && s.refreshing.CompareAndSwap(false, true) {
				s.refresh(trace.SpanFromContext(ctx))
			}
			return t.Token, nil
		}
	}
	return s.await(ctx)
}

// refresh fetches a newer token in the background. A login is part of the trace of parent.
func (s *Shared) refresh(parent trace.Span) {
	if !s.BeginWork() {
		return // closed; refreshing stays set, so that no caller tries again
	}
	go func() {
		defer s.EndWork()
		defer s.refreshing.Store(false)
		// An error does not matter while the old token is good.
		_, _, _ = s.fetches.Do("", func() (any, error) { return s.fetch(parent, true) })
	}()
}

// await gets a token that is not at hand. All callers of a process share one
// fetch, which goes on if this caller gives up. A login is part of the trace of whoever
// began it.
func (s *Shared) await(ctx context.Context) (Token, error) {
	if err := ctx.Err(); err != nil {
		return Token{}, err
	}
	if err := s.Open(); err != nil {
		return Token{}, err
	}
	began := time.Now()
	defer func() {
		s.count.waitSeconds.Observe(time.Since(began).Seconds())
	}()
	parent := trace.SpanFromContext(ctx)
	s.waiters.Add(1)
	defer s.waiters.Add(-1)
	for {
		fetched := s.fetches.DoChan("", func() (any, error) { return s.fetch(parent, false) })
		select {
		case <-ctx.Done():
			return Token{}, ctx.Err()
		case r := <-fetched:
			if r.Err != nil {
				return Token{}, r.Err
			}
			got := r.Val.(fetchResult)
			// The fetch may have been a background one that found no newer token,
			// and its token may have been rejected since.
			if got.source == nil || got.token.Gen <= s.rejectedGen.Load() {
				continue
			}
			got.source.Inc()
			return got.token, nil
		}
	}
}

// usableToken gives the local token if it makes a fetch needless: a background
// fetch looks for a newer one from soft on.
func (s *Shared) usableToken(background bool) (*localToken, bool) {
	t := s.current.Load()
	if t == nil || t.Gen <= s.rejectedGen.Load() {
		return nil, false
	}
	limit := t.hard
	if background {
		limit = t.soft
	}
	return t, s.Clock() < limit
}

// newLocalToken computes the windows of a token (see the package doc). issued
// is when the login was sent, on this process' clock.
func (s *Shared) newLocalToken(grant Grant, gen, issued int64, origin Origin) *localToken {
	life := grant.Life
	margin := min(time.Minute, max(2*time.Second, life/10), life/4)
	hard := issued + int64(life-margin)
	window := float64(min(5*time.Minute, life/5)) * s.softFactor
	return &localToken{
		Token: Token{
			Value:  grant.Value,
			Gen:    gen,
			Origin: origin,
			issued: issued,
		},
		soft: hard - int64(window),
		hard: hard,
		life: life,
	}
}

// setCurrent makes t the token of this process.
func (s *Shared) setCurrent(t *localToken) {
	s.current.Store(t)
	s.nextRefresh.Store(0)
	s.count.expires.Set(metrics.UnixIn(time.Duration(t.issued + int64(t.life) - s.Clock())))
	s.Succeeded()
}

// delayRefresh holds background refreshes back for a moment, so that a refresh
// that finds nothing costs Redis two requests per process and not one per Get.
func (s *Shared) delayRefresh(atLeast time.Duration) {
	pause := 200*time.Millisecond + rand.N(400*time.Millisecond)
	s.nextRefresh.Store(s.Clock() + int64(max(pause, atLeast)))
}
