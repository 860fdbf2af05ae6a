package tokens

import (
	"crypto/rand"
	"errors"
	"time"

	"errand.internal/internal/admission"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

// fetchResult is what a fetch ends with. A nil source means no token.
type fetchResult struct {
	token  Token
	source prometheus.Counter
}

// tokenFetch is one fetch: it gets a token from the fleet or from the vendor,
// or waits for the process that is asking the vendor. At most one is in flight
// per Source.
type tokenFetch struct {
	*Shared
	// parent is the span of whoever began it.
	parent trace.Span
	// background: the callers still have a good token, so nothing is waited for.
	background bool
	keys       *admission.Keys
	nonce      string // names the lease
	giveUpAt   int64  // clock
	pause      time.Duration
}

// fetch runs one fetch.
func (s *Shared) fetch(parent trace.Span, background bool) (fetchResult, error) {
	if !s.BeginWork() {
		return fetchResult{}, s.Unavailable(0, admission.ErrClosed)
	}
	defer s.EndWork()
	f := &tokenFetch{
		Shared:     s,
		parent:     parent,
		background: background,
		giveUpAt:   s.Clock() + 3*int64(s.Lease()),
		pause:      admission.MinPause,
	}
	var err error
	if f.keys, err = s.Keys(); err != nil {
		return f.fallBack(0, err)
	}
	f.nonce = s.LeaseNonce() // only now: it may name a lease that nobody else gives back
	for {
		if result, done, err := f.ask(); done {
			return result, err
		}
	}
}

// ask asks Redis once and acts on the reply. It reports false if Redis must be
// asked again.
func (f *tokenFetch) ask() (result fetchResult, done bool, err error) {
	if t, ok := f.usableToken(f.background); ok {
		return fetchResult{t.Token, f.count.local}, true, nil
	}
	asked := f.Clock()
	if asked > f.giveUpAt {
		err = f.Unavailable(time.Second, errors.New("another process has been logging in for too long"))
		return fetchResult{}, true, err
	}
	reply, err := f.Ask(beginScript, scriptKeys(f.keys), f.sharedGen.Load(), f.nonce, f.Lease().Milliseconds())
	if err != nil {
		f.ReleaseLater(f.keys, f.nonce) // the reply may be lost, and the lease granted
		result, err = f.fallBack(0, err)
		return result, true, err
	}
	switch reply.Text(0) {
	case "T":
		return f.useShared(reply, asked)
	case "N":
		left := reply.Millis(1)
		f.delayRefresh(min(left, 5*time.Second))
		return fetchResult{}, true, f.Adopt(left, reply.Text(2), reply.Text(4), nil)
	case "L":
		return f.useLease(reply.Int(1), asked)
	case "W":
		return f.awaitHolder(reply.Millis(1))
	}
	result, err = f.fallBack(0, errors.New("unexpected reply"))
	return result, true, err
}

// useShared takes over the token of a T reply.
func (f *tokenFetch) useShared(reply redisscript.Reply, asked int64) (fetchResult, bool, error) {
	gen := reply.Int(1)
	t, err := f.openShared(f.keys, reply, asked)
	if err != nil {
		f.count.unreadable.Inc()
		result, err := f.fallBack(gen, err)
		return result, true, err
	}
	f.sharedGen.Store(max(gen, f.sharedGen.Load()))
	if f.Clock() >= t.hard {
		return fetchResult{}, false, nil // too close to its end: ask for a newer one
	}
	f.setCurrent(t)
	return fetchResult{t.Token, f.count.redis}, true, nil
}

// useLease logs in under the lease that an L reply granted.
func (f *tokenFetch) useLease(gen, asked int64) (fetchResult, bool, error) {
	if f.Clock()-asked > int64(admission.LeaseMargin/2) {
		// The process was suspended: a login now might outlive the lease.
		f.GiveUp(f.keys, f.nonce)
		f.nonce = rand.Text()
		return fetchResult{}, false, nil
	}
	result, outdated, err := f.login(gen)
	if !outdated {
		return result, true, err
	}
	f.nonce = rand.Text()
	f.giveUpAt = f.Clock() + 3*int64(f.Lease()) // the wait so far was for the vendor
	return fetchResult{}, false, nil
}

// awaitHolder pauses while another process holds the lease, for left more. It
// does not wait if no caller does.
func (f *tokenFetch) awaitHolder(left time.Duration) (fetchResult, bool, error) {
	if f.background {
		f.delayRefresh(0)
		return fetchResult{}, true, nil
	}
	if f.waiters.Load() == 0 {
		return fetchResult{}, true, nil
	}
	if err := f.Sleep(f.Context(), min(admission.Jitter(f.pause), left+5*time.Millisecond)); err != nil {
		return fetchResult{}, true, f.Unavailable(0, admission.ErrClosed)
	}
	f.pause = min(f.pause*3/2, admission.MaxPause)
	return fetchResult{}, false, nil
}

// openShared decrypts the shared token of a T reply. asked is when the request
// was sent, so that the age is overestimated rather than underestimated.
func (s *Shared) openShared(keys *admission.Keys, reply redisscript.Reply, asked int64) (*localToken, error) {
	gen := reply.Int(1)
	plain, err := s.ring.Open(seal.Token, aad(keys, gen), []byte(reply.Text(2)))
	if err != nil {
		return nil, err
	}
	grant, err := decodeGrant(plain)
	if err != nil {
		return nil, err
	}
	age := max(time.Duration(reply.Int(3)-gen)*time.Microsecond, 0)
	// Redis' clock may have been set back since the login. The expiry of the key
	// does not depend on that.
	if left := reply.Millis(4); left > 0 {
		age = max(age, grant.Life-left)
	}
	return s.newLocalToken(grant, gen, asked-int64(age), Adopted), nil
}
