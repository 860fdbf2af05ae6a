package clients

import (
	"context"
	"errors"
	"net/http"

	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// Bearer makes calls with the fleet's shared token: once, and once more with a
// fresh one if the answer says, or may hide, that the token is no longer good.
//
//	first answer       the Source is asked   what counts
//	Denied             Reject                the second answer, if it says replay
//	Suspicious         Suspect               the second answer, if it says replay
//	anything else      nothing               the first answer
//
// A denied call was not carried out, so the replay is safe for every call.
type Bearer struct {
	Source tokens.Source
	// Denied tells an answer that refuses the token. nil: status 401, and no 403,
	// which is about the account's rights and not mended by another token.
	Denied func(*Answer) bool
	// Suspicious tells an answer that may hide an expired token, of a vendor that
	// does not say 401. nil: none does.
	Suspicious func(*Answer) bool
}

// Do makes one call of op through caller. build makes the request anew for each
// token; where it fails, nothing left and the error is Invalid. A non-nil error
// is always an *Error: about the transport as from Caller.Do, or about a token
// that was not to be had (Credentials or Temporary). Its NotSent is true only
// if neither the call nor its replay left. What the answer means, also a second
// 401, is the vendor client's to tell.
func (b Bearer) Do(
	ctx context.Context,
	caller *Caller,
	op string,
	build func(token secret.String) (*http.Request, error),
) (*Answer, error) {
	answer, token, err := b.once(ctx, caller, op, build)
	if err != nil || !b.wantsReplay(ctx, answer, token) {
		return answer, err
	}
	answer, token, err = b.once(ctx, caller, op, build)
	if err != nil {
		if e, ok := AsError(err); ok {
			e.NotSent = false // the first request did reach the vendor
		}
		return nil, err
	}
	if b.denied(answer) {
		// A fresh token was refused too, so the fault is not the token's: tell the
		// Source, which keeps the fleet from logging in over and over.
		b.Source.Reject(ctx, token)
	}
	return answer, nil
}

func (b Bearer) once(
	ctx context.Context,
	caller *Caller,
	op string,
	build func(secret.String) (*http.Request, error),
) (*Answer, tokens.Token, error) {
	token, err := b.Source.Get(ctx)
	if err != nil {
		return nil, token, TokenError(caller.Vendor(), op, err)
	}
	req, err := build(token.Value)
	if err != nil {
		if e, ok := AsError(err); ok {
			return nil, token, e
		}
		// The text is not promised to be safe to show.
		return nil, token, InvalidRequest(caller.Vendor(), op, "the request cannot be built")
	}
	answer, err := caller.Do(ctx, op, req)
	return answer, token, err
}

// wantsReplay tells the Source what the first answer says about the token, and
// reports whether the call is worth one replay.
func (b Bearer) wantsReplay(ctx context.Context, a *Answer, t tokens.Token) bool {
	switch {
	case b.denied(a):
		return b.Source.Reject(ctx, t)
	case b.Suspicious != nil && b.Suspicious(a):
		return b.Source.Suspect(ctx, t)
	}
	return false
}

func (b Bearer) denied(a *Answer) bool {
	if b.Denied == nil {
		return a.Status == http.StatusUnauthorized
	}
	return b.Denied(a)
}

// TokenError says why no token was had: Credentials for a credential that was
// refused, Temporary for a login service that does not answer. It wraps the
// tokens package's own error. NotSent is true, which a caller takes back if the
// vendor has already answered once.
func TokenError(vendor, op string, err error) *Error {
	out := &Error{
		Vendor:  vendor,
		Op:      op,
		NotSent: true,
	}
	if cooling, ok := errors.AsType[*tokens.CoolingError](err); ok {
		out.Kind = Credentials
		out.Message = "no token"
		out.RetryAfter = cooling.RetryAfter
		out.Err = cooling
		return out
	}
	if refusal, ok := errors.AsType[*tokens.RefusedError](err); ok {
		out.Kind = Credentials
		out.Message = "no token"
		out.Err = refusal
		return out
	}
	out.Kind = Temporary
	if unavailable, ok := errors.AsType[*tokens.UnavailableError](err); ok {
		out.Message = "no token"
		out.RetryAfter = unavailable.RetryAfter
		out.Err = unavailable
		return out
	}
	// Of an error of another make only the well-known cause is kept: nobody
	// promised that its text is safe to show.
	out.Message = "no token: its source failed"
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			out.Message = "the wait for a token ended"
			out.Err = cause
		}
	}
	return out
}
