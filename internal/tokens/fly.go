package tokens

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

const (
	firstPause = 20 * time.Millisecond
	longPause  = 250 * time.Millisecond
)

// fly gets a token: from the fleet, from the vendor, or by waiting for whoever
// is asking the vendor. A background flight, whose callers still have a good
// token, waits for nobody. At most one flight is under way per Source.
func (s *Shared) fly(background bool) (result, error) {
	if !s.enter() {
		return result{}, s.unavailable(0, errClosed)
	}
	defer s.wg.Done()

	keys, err := s.keyset()
	if err != nil {
		return s.without(background, err)
	}
	nonce := s.nonce()
	giveUp := s.clock() + 3*int64(s.lease)
	for pause := firstPause; ; {
		if c, ok := s.usable(background); ok {
			return result{c.tok, s.count.local}, nil
		}
		asked := s.clock()
		if asked > giveUp {
			return result{}, s.unavailable(
				time.Second,
				errors.New("another process has been logging in for too long"),
			)
		}
		r, err := s.run(beginScript, keys, s.seen.Load(), nonce, s.lease.Milliseconds())
		if err != nil {
			s.strand(keys, nonce) // the lease may be ours without our knowing
			return s.without(background, err)
		}
		switch r[0] {
		case "T":
			gen := r.int(1)
			c, err := s.open(keys, r, asked)
			if err != nil {
				s.count.unreadable.Inc()
				return s.loginAlone(background, gen, err)
			}
			s.seen.Store(max(gen, s.seen.Load()))
			if s.clock() < c.hard {
				s.take(c)
				return result{c.tok, s.count.redis}, nil
			}
			// Too close to its end: ask for a newer one.
		case "N":
			left := r.ms(1)
			s.hush(min(left, 5*time.Second))
			return result{}, s.learn(left, r.text(2), r.text(4), nil)
		case "L":
			if s.clock()-asked > int64(leaseMargin/2) {
				// The process stood still: a login now might outlive the lease.
				_, _ = s.tell(finalBudget, releaseScript, keys, nonce)
				nonce = rand.Text()
				continue
			}
			got, again, err := s.login(keys, nonce, r.int(1))
			if !again {
				return got, err
			}
			nonce = rand.Text()
			giveUp = s.clock() + 3*int64(
				s.lease,
			) // what this flight waited for was the vendor
		case "W":
			if background {
				s.hush(0)
				return result{}, nil
			}
			if s.waiters.Load() == 0 {
				return result{}, nil
			}
			if err := s.sleep(s.ctx, min(jitter(pause), r.ms(1)+5*time.Millisecond)); err != nil {
				return result{}, s.unavailable(0, errClosed)
			}
			pause = min(pause*3/2, longPause)
		default:
			return s.without(background, errors.New("unexpected reply"))
		}
	}
}

// jitter is d plus or minus a half.
func jitter(d time.Duration) time.Duration {
	return d/2 + mathrand.N(d)
}

func (s *Shared) unavailable(retryAfter time.Duration, err error) error {
	return &UnavailableError{
		Profile:    s.profile.Name,
		RetryAfter: max(retryAfter, 100*time.Millisecond),
		Err:        err,
	}
}

// open reads the shared token of a T reply. asked is when the question was
// sent, so the age is rather over- than underestimated.
func (s *Shared) open(keys *keyset, r reply, asked int64) (*copied, error) {
	gen := r.int(1)
	plain, err := s.ring.Open(seal.Token, keys.aad(gen), []byte(r.text(2)))
	if err != nil {
		return nil, err
	}
	grant, err := decodeGrant(plain)
	if err != nil {
		return nil, err
	}
	age := max(time.Duration(r.int(3)-gen)*time.Microsecond, 0)
	// Redis' clock may have been set back since; the key's own expiry is the
	// second opinion.
	if left := r.ms(4); left > 0 {
		age = max(age, grant.Life-left)
	}
	return s.hold(grant, gen, asked-int64(age)), nil
}

// login asks the vendor under the lease and stores the token for the fleet.
// again: a newer token is there already.
func (s *Shared) login(
	keys *keyset,
	nonce string,
	gen int64,
) (got result, again bool, err error) {
	if err := s.publish(keys, nonce); err != nil {
		s.hush(0)
		return result{}, false, err
	}
	sent := s.clock()
	grant, err := s.fetch()
	if err != nil {
		if s.ctx.Err() != nil {
			_, _ = s.tell(finalBudget, releaseScript, keys, nonce)
			return result{}, false, s.unavailable(0, errClosed)
		}
		s.hush(0)
		return result{}, false, s.mark(keys, nonce, true, err)
	}
	c := s.hold(grant, gen, sent)
	left := grant.Life - time.Duration(s.clock()-sent)
	blob := s.ring.Seal(seal.Token, keys.aad(gen), encodeGrant(grant))
	r, err := s.tell(
		finalBudget,
		commitScript,
		keys,
		nonce,
		strconv.FormatInt(gen, 10),
		blob,
		max(left.Milliseconds(), 1),
	)
	if err == nil {
		if r.text(1) == "0" {
			s.count.leasesLost.Inc()
		}
		if r.text(0) == "0" {
			return result{}, true, nil
		}
	}
	// If Redis has gone meanwhile the token is good for this process all the
	// same.
	s.seen.Store(max(gen, s.seen.Load()))
	s.take(c)
	return result{c.tok, s.count.fetched}, false, nil
}

// fetch calls the vendor once, with a context of its own.
func (s *Shared) fetch() (grant Grant, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.profile.Timeout)
	defer cancel()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			// Nobody above this goroutine could recover it. The value may hold
			// anything, so only its type is shown.
			err = fmt.Errorf("the login panicked with a %T", p)
		}
		s.count.fetchSeconds.Observe(time.Since(began).Seconds())
		switch _, refused := errors.AsType[*RefusedError](err); {
		case err == nil:
			s.count.ok.Inc()
		case refused:
			s.count.refused.Inc()
		default:
			s.count.unavailable.Inc()
		}
	}()
	grant, err = s.profile.Fetch(ctx)
	if err == nil && grant.Value.Empty() {
		err = errors.New("the login answered without a token")
	}
	if grant.Life <= 0 {
		grant.Life = s.profile.DefaultLife
	}
	grant.Life = min(max(grant.Life, time.Millisecond), maxLife)
	return grant, err
}

// A sealed token is its life in milliseconds (8 bytes) and its value. The life
// and not an end: no two machines' clocks are compared.
func encodeGrant(g Grant) []byte {
	value := g.Value.Reveal()
	out := make([]byte, 0, 8+len(value))
	out = binary.BigEndian.AppendUint64(out, uint64(g.Life.Milliseconds()))
	return append(out, value...)
}

func decodeGrant(b []byte) (Grant, error) {
	if len(b) <= 8 {
		return Grant{}, errors.New("the stored token is too short")
	}
	ms := binary.BigEndian.Uint64(b)
	if ms == 0 || ms > uint64(maxLife.Milliseconds()) {
		return Grant{}, errors.New("the stored token has an impossible life")
	}
	return Grant{
		Value: secret.New(string(b[8:])),
		Life:  time.Duration(ms) * time.Millisecond,
	}, nil
}
