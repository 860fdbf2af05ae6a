package tokens

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/admission"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// login asks the vendor under the lease and stores the token for the fleet. It
// reports outdated if the fleet has a newer token already.
func (f *tokenFetch) login(gen int64) (result fetchResult, outdated bool, err error) {
	if err := f.PublishRefusal(f.keys, f.nonce); err != nil {
		f.delayRefresh(0)
		return fetchResult{}, false, err
	}
	sent := f.Clock()
	grant, err := f.requestToken()
	if err != nil {
		if f.Context().Err() != nil {
			f.GiveUp(f.keys, f.nonce)
			return fetchResult{}, false, f.Unavailable(0, admission.ErrClosed)
		}
		f.delayRefresh(0)
		return fetchResult{}, false, f.Fail(f.keys, f.nonce, true, failure(err))
	}
	t := f.newLocalToken(grant, gen, sent, Fetched)
	if f.store(f.keys, f.nonce, t, grant) {
		return fetchResult{}, true, nil
	}
	f.sharedGen.Store(max(gen, f.sharedGen.Load()))
	f.setCurrent(t)
	return fetchResult{t.Token, f.count.fetched}, false, nil
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

// requestToken calls the vendor once, with a context of its own in the trace of whoever
// began the fetch.
func (f *tokenFetch) requestToken() (grant Grant, err error) {
	ctx := trace.ContextWithSpan(f.Context(), f.parent)
	ctx, cancel := context.WithTimeout(ctx, f.profile.Timeout)
	defer cancel()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			// No caller of this goroutine can recover the panic. Its value may hold
			// secrets, so only its type is shown.
			err = fmt.Errorf("the login panicked with a %T", p)
		}
		f.count.fetchSeconds.Observe(time.Since(began).Seconds())
		switch _, refused := errors.AsType[*RefusedError](err); {
		case err == nil:
			f.count.ok.Inc()
		case refused:
			f.count.refused.Inc()
		default:
			f.count.unavailable.Inc()
		}
	}()
	grant, err = f.profile.Fetch(ctx)
	if err == nil && grant.Value.Empty() {
		err = errors.New("the login answered without a token")
	}
	if grant.Life <= 0 {
		grant.Life = f.profile.DefaultLife
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
