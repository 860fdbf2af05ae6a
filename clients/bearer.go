package clients

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
	"errand.internal/internal/tracing"
)

// Bearer makes calls with the token that all workers share. It makes a call once,
// and a second time with a fresh token if the first answer says or suggests that
// the token is no longer valid and the Source agrees to a replay:
//
//	first answer     told to the Source   result
//	Denied           Reject               the second answer if replayed, else the first
//	Suspicious       Suspect              the second answer if replayed, else the first
//	anything else    nothing              the first answer
//
// A denied call was not carried out, so replaying it is safe for every operation.
type Bearer struct {
	Source tokens.Source
	// Denied reports whether an answer refuses the token. nil means status 401. A
	// 403 is about the account's rights, which a fresh token does not change.
	Denied func(*Answer) bool
	// Suspicious reports whether an answer may be due to an expired token, for
	// vendors that do not answer 401. nil means never.
	Suspicious func(*Answer) bool
}

// Do makes one call of op through caller. build builds the request for a token; if
// it fails, nothing is sent and the error is Invalid. A non-nil error is always an
// *Error: about the transport, as from Caller.Do, or about a token that could not
// be obtained (Blocked or Temporary). Its NotSent is true only if neither the
// call nor its replay was sent. The vendor client interprets the answer, a second
// 401 included.
func (b Bearer) Do(
	ctx context.Context,
	caller *Caller,
	op string,
	build func(token secret.String) (*http.Request, error),
) (*Answer, error) {
	answer, token, err := b.try(ctx, caller, op, build)
	if err != nil || !b.wantsReplay(ctx, answer, token) {
		return answer, err
	}
	answer, token, err = b.try(ctx, caller, op, build)
	if err != nil {
		caller.ReportRefusal(ctx, nil) // the first answer is not interpreted any more
		if e, ok := AsError(err); ok {
			e.NotSent = false // the first request reached the vendor
		}
		return nil, err
	}
	if b.denied(answer) {
		// A fresh token was refused as well, so the token is not the cause. Telling
		// the Source keeps the workers from logging in again and again.
		b.Source.Reject(ctx, token)
	}
	return answer, nil
}

func (b Bearer) try(
	ctx context.Context,
	caller *Caller,
	op string,
	build func(secret.String) (*http.Request, error),
) (*Answer, tokens.Token, error) {
	token, err := b.token(ctx, caller.Vendor())
	if err != nil {
		return nil, token, BlockedError(caller.Vendor(), op, err)
	}
	req, err := build(token.Value)
	if err != nil {
		if e, ok := AsError(err); ok {
			return nil, token, e
		}
		// The text of err may not be safe to show.
		return nil, token, InvalidRequest(caller.Vendor(), op, "the request cannot be built")
	}
	answer, err := caller.Do(ctx, op, req)
	return answer, token, err
}

// token gets the token that all workers share.
func (b Bearer) token(ctx context.Context, vendor string) (tokens.Token, error) {
	if !tracing.Active(ctx) {
		return b.Source.Get(ctx)
	}
	ctx, span := tracing.Start(ctx, "token", trace.WithAttributes(tracing.Vendor.String(vendor)))
	defer span.End()
	token, err := b.Source.Get(ctx)
	if err != nil {
		tracing.Fail(span, "no_token")
	}
	return token, err
}

// wantsReplay reports to the Source what the first answer says about the token, and
// returns whether to replay the call.
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
