package tokens

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// login asks the vendor under the lease and stores the token for the fleet. It
// reports outdated if the fleet has a newer token already.
func (s *Shared) login(keys *admission.Keys, nonce string, gen int64) (result fetchResult, outdated bool, err error) {
	if err := s.PublishRefusal(keys, nonce); err != nil {
		s.delayRefresh(0)
		return fetchResult{}, false, err
	}
	sent := s.Clock()
	grant, err := s.requestToken()
	if err != nil {
		if s.Context().Err() != nil {
			s.GiveUp(keys, nonce)
			return fetchResult{}, false, s.Unavailable(0, admission.ErrClosed)
		}
		s.delayRefresh(0)
		return fetchResult{}, false, s.Fail(keys, nonce, true, failure(err))
	}
	t := s.newLocalToken(grant, gen, sent, Fetched)
	if s.store(keys, nonce, t, grant) {
		return fetchResult{}, true, nil
	}
	s.sharedGen.Store(max(gen, s.sharedGen.Load()))
	s.setCurrent(t)
	return fetchResult{t.Token, s.count.fetched}, false, nil
}

// store commits a token for the fleet and gives the lease back. It reports
// whether the fleet has a newer one. Without Redis it reports false: the token
// is good for this process all the same.
func (s *Shared) store(keys *admission.Keys, nonce string, t *localToken, grant Grant) (outdated bool) {
	left := grant.Life - time.Duration(s.Clock()-t.issued)
	reply, err := s.RunDirect(
		admission.CommitTimeout,
		commitScript,
		scriptKeys(keys),
		nonce,
		strconv.FormatInt(t.Gen, 10),
		s.ring.Seal(seal.Token, aad(keys, t.Gen), encodeGrant(grant)),
		max(left.Milliseconds(), 1),
	)
	if err != nil {
		return false
	}
	if reply.Text(1) == "0" {
		s.LeaseLost()
	}
	return reply.Text(0) == "0"
}

// requestToken calls the vendor once, with a context of its own.
func (s *Shared) requestToken() (grant Grant, err error) {
	ctx, cancel := context.WithTimeout(s.Context(), s.profile.Timeout)
	defer cancel()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			// No caller of this goroutine can recover the panic. Its value may hold
			// secrets, so only its type is shown.
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

// encodeGrant writes the plain form of a stored token: its life in milliseconds
// (8 bytes) and its value. The life is stored instead of the end, so that no
// two machines' clocks are compared.
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
