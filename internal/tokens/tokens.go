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
	// Origin says how this process came by the token.
	Origin Origin

	// issued is when it was issued, on the clock of the source that gave it (0 if
	// unknown).
	issued int64
}

// Origin says how a process came by a token.
type Origin uint8

// The origins.
const (
	// Adopted means that the fleet had the token.
	Adopted Origin = iota
	// Fetched means that this process logged in and shared the token.
	Fetched
	// FallbackNoRedis means that this process logged in for itself only, because Redis did
	// not answer.
	FallbackNoRedis
	// FallbackUnreadable means that this process logged in for itself only, because it could
	// not open the fleet's token.
	FallbackUnreadable
)

// Source gives the token of one credential profile.
type Source interface {
	// Get returns a token that is good for at least one call. It fails with an
	// *admission.Blocked (the credential was refused lately, or the login service does
	// not answer) or the error of ctx.
	Get(ctx context.Context) (Token, error)
	// Reject reports a 401 of the vendor to t. The result says whether one replay
	// with a new token is worthwhile. It is false if the token was fresh: then the
	// account lacks a right and the token is not to blame.
	Reject(ctx context.Context, t Token) (replay bool)
	// Suspect reports an answer to t that may hide an expired token. The result
	// says whether one replay is worthwhile: t was old enough to be rejected and no
	// process did so in the last five minutes, or t has been replaced since.
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
// was refused; any other error means that the login service is in trouble. Such
// an error may have a method RetryAfterHint() time.Duration with the wait that
// the service asks for. A Fetcher returns when its ctx ends.
type Fetcher func(ctx context.Context) (Grant, error)

// RefusedError means that the login service refused the credential itself.
type RefusedError struct {
	Profile string
	Reason  string // in Errand's words, never the vendor's
}

// Error implements error.
func (e *RefusedError) Error() string {
	return "credential " + e.Profile + " refused: " + e.Reason
}
