package tokens

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"errand.internal/internal/seal"
)

// Shared is the Source of one credential profile, shared with every process
// that has the same credential and the same Redis. Safe for concurrent use.
type Shared struct {
	*link
	ring   *seal.Ring
	spread float64 // this process' soft window, 0.9 to 1.1 of the usual

	cur         atomic.Pointer[copied]
	minGen      atomic.Int64 // generations up to this one are rejected
	nextRefresh atomic.Int64 // quiet until then (clock)
	refreshing  atomic.Bool
	waiters     atomic.Int64
	flight      singleflight.Group
	// seen is the newest shared generation this process had; only a newer one is
	// of interest. Generations of its own (without Redis) do not count.
	seen atomic.Int64

	rejecting    sync.Mutex
	rejectsOff   int64 // clock; under rejecting
	suspicionOff int64
}

var _ Source = (*Shared)(nil)

// copied is the token as this process holds it. It never changes.
type copied struct {
	tok Token
	// From soft on a newer one is fetched behind the callers' back; from hard on
	// this one is not handed out.
	soft, hard int64 // clock
	life       time.Duration
}

// NewSource makes the Source of p. It asks neither Redis nor the vendor before
// the first Get. Call Close at the end.
func NewSource(
	rdb redis.UniversalClient,
	ring *seal.Ring,
	p Profile,
	opts ...Option,
) *Shared {
	if p.Fetch == nil {
		panic("tokens: profile " + p.Name + " has no Fetch")
	}
	l := newLink(rdb, p, opts)
	return &Shared{
		link:   l,
		ring:   ring,
		spread: 0.9 + 0.2*rand.Float64(),
	}
}

// Get implements Source. With a fresh token at hand it costs neither a round
// trip nor an allocation.
func (s *Shared) Get(ctx context.Context) (Token, error) {
	if c := s.cur.Load(); c != nil && c.tok.Gen > s.minGen.Load() {
		now := s.clock()
		if now < c.soft {
			s.count.local.Inc()
			return c.tok, nil
		}
		if now < c.hard {
			s.count.stale.Inc()
			if now >= s.nextRefresh.Load() && s.refreshing.CompareAndSwap(false, true) {
				s.refresh()
			}
			return c.tok, nil
		}
	}
	return s.wait(ctx)
}

// refresh looks for a newer token in the background.
func (s *Shared) refresh() {
	if !s.enter() {
		return // and keep refreshing set: nothing more will come
	}
	go func() {
		defer s.wg.Done()
		defer s.refreshing.Store(false)
		// Errors are of no interest while the old token is good.
		_, _, _ = s.flight.Do("", func() (any, error) { return s.fly(true) })
	}()
}

// wait gets a token that is not at hand. All callers of a process share one
// flight, which carries on if this one gives up.
func (s *Shared) wait(ctx context.Context) (Token, error) {
	if err := ctx.Err(); err != nil {
		return Token{}, err
	}
	if err := s.resting(); err != nil {
		return Token{}, err
	}
	began := time.Now()
	defer func() {
		s.count.waitSeconds.Observe(time.Since(began).Seconds())
	}()
	s.waiters.Add(1)
	defer s.waiters.Add(-1)
	for {
		landed := s.flight.DoChan("", func() (any, error) { return s.fly(false) })
		select {
		case <-ctx.Done():
			return Token{}, ctx.Err()
		case r := <-landed:
			if r.Err != nil {
				return Token{}, r.Err
			}
			got := r.Val.(result)
			// Nothing for us: the flight was a background one that found nothing
			// new, or its token has been rejected since.
			if got.source == nil || got.tok.Gen <= s.minGen.Load() {
				continue
			}
			got.source.Inc()
			return got.tok, nil
		}
	}
}

// result is what a flight brings home.
type result struct {
	tok    Token
	source prometheus.Counter // nil: no token
}

// usable gives the copy at hand: for a background flight only if nothing newer
// is due.
func (s *Shared) usable(background bool) (*copied, bool) {
	c := s.cur.Load()
	if c == nil || c.tok.Gen <= s.minGen.Load() {
		return nil, false
	}
	limit := c.hard
	if background {
		limit = c.soft
	}
	return c, s.clock() < limit
}

// hold works out when a token is due and when it ends (TOKENS §2.4). issued is
// when the login was sent, on this process' clock.
func (s *Shared) hold(grant Grant, gen, issued int64) *copied {
	life := grant.Life
	margin := min(time.Minute, max(2*time.Second, life/10), life/4)
	hard := issued + int64(life-margin)
	window := float64(min(5*time.Minute, life/5)) * s.spread
	return &copied{
		tok: Token{
			Value:  grant.Value,
			Gen:    gen,
			issued: issued,
		},
		soft: hard - int64(window),
		hard: hard,
		life: life,
	}
}

// take makes c the token of this process.
func (s *Shared) take(c *copied) {
	s.cur.Store(c)
	s.nextRefresh.Store(0)
	s.count.expires.Set(unixIn(time.Duration(c.tok.issued + int64(c.life) - s.clock())))
	s.works()
}

// hush keeps background refreshes quiet for a moment, so that a refresh that
// finds nothing costs two questions per process and not one per Get.
func (s *Shared) hush(atLeast time.Duration) {
	quiet := 200*time.Millisecond + rand.N(400*time.Millisecond)
	s.nextRefresh.Store(s.clock() + int64(max(quiet, atLeast)))
}
