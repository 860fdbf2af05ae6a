package tokens

import (
	"context"
	"time"

	"errand.internal/internal/secret"
)

// Token is one access token as the fleet shares it.
type Token struct {
	Value secret.String
	// Gen is the token's generation: fencing number and time of issue in one
	// (microseconds of Redis time).
	Gen int64

	// issued is when it was issued, on the clock of the source that gave it (0 if
	// unknown).
	issued int64
}

// Source gives the token of one credential profile.
type Source interface {
	// Get returns a token that is good for at least one call. Its errors are
	// *CoolingError (the credential was refused lately) and *UnavailableError
	// (the login service does not answer), or the context's.
	Get(ctx context.Context) (Token, error)
	// Reject says that the vendor answered 401 to t. It reports whether one
	// replay with a new token is worth it; false means the token was fresh, so
	// that the fault lies with the account's rights and not with the token.
	Reject(ctx context.Context, t Token) (replay bool)
	// Suspect says that an answer to t may hide an expired token. It reports
	// whether one replay is worth it: t was old enough to be rejected and nobody
	// in the fleet did so in the last five minutes, or t has been replaced since.
	Suspect(ctx context.Context, t Token) (replay bool)
}

// Grant is what a login returned.
type Grant struct {
	Value secret.String
	// Life is how long the token is good, counted from before the request was
	// sent; 0 if the vendor did not say.
	Life time.Duration
}

// Fetcher logs in once. It returns a *RefusedError if the credential itself
// was refused; any other error means that the login service is in trouble. If
// that error has a method RetryAfterHint() time.Duration, it tells how long the
// service wants to be left alone. A Fetcher ends when its ctx does.
type Fetcher func(ctx context.Context) (Grant, error)

// Verdict is what one answer says about a static credential.
type Verdict uint8

// The verdicts. NoVerdict: the answer (or its absence) says nothing.
const (
	NoVerdict Verdict = iota
	Accepted
	Refused
)

// Gate guards a static credential (HTTP Basic, a fixed token): the same cool-down as for logins, and
// an unproven credential goes alone until its first good answer.
type Gate interface {
	// Enter waits for leave to use the credential once. Its errors are
	// *CoolingError, *UnavailableError or the context's.
	Enter(ctx context.Context) (Pass, error)
}

// Pass is the leave to use a static credential once. Report must be called
// exactly once.
type Pass interface {
	Report(ctx context.Context, v Verdict)
}

// CoolingError says that the credential was refused lately and must rest.
type CoolingError struct {
	Profile    string
	RetryAfter time.Duration
	// Reason is the RefusedError's, as far as it is known.
	Reason string
}

// Error implements error.
func (e *CoolingError) Error() string {
	why := ""
	if e.Reason != "" {
		why = " (" + e.Reason + ")"
	}
	return "credential " + e.Profile + " was refused" + why + "; next try in " + e.RetryAfter.Round(time.Second).
		String()
}

// UnavailableError says that the login service does not answer and no usable token is
// left.
type UnavailableError struct {
	Profile    string
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return "login of " + e.Profile + " is unavailable; next try in " + e.RetryAfter.Round(time.Millisecond).
		String()
}

// Unwrap gives the cause.
func (e *UnavailableError) Unwrap() error {
	return e.Err
}

// RefusedError says that the login service refused the credential itself.
type RefusedError struct {
	Profile string
	Reason  string // in our own words
}

// Error implements error.
func (e *RefusedError) Error() string {
	return "credential " + e.Profile + " refused: " + e.Reason
}
