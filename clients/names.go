package clients

import (
	"errand.internal/internal/admission"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// These types of internal packages appear in the API of the clients. They have a name here
// for code of other modules, which cannot import those packages.
type (
	// Secret is a secret of a client's Config. It shows itself to nobody; NewSecret makes
	// one.
	Secret = secret.String
	// Rate limits the calls in a span of time.
	Rate = settings.Rate
	// Share is the share of failing calls that opens a breaker.
	Share = settings.Share
	// Count limits the calls at once.
	Count = settings.Count

	// TokenSource gives a client the tokens of its login: a worker shares them with the
	// fleet.
	TokenSource = tokens.Source
	// TokenProfile describes a login.
	TokenProfile = tokens.Profile
	// Grant is what a login returned.
	Grant = tokens.Grant

	// Gate admits the calls of a credential.
	Gate = admission.Gate
	// GateProfile describes what a Gate guards.
	GateProfile = admission.Profile
	// Permit is what a Gate gives for one call.
	Permit = admission.Permit
	// CallRequest is a call that an Admitter is asked to admit.
	CallRequest = admission.Request
	// CallResult is how an admitted call ended.
	CallResult = admission.Result
	// Verdict is what a call has shown about the credential.
	Verdict = admission.Verdict
)

// NewSecret returns a secret.
func NewSecret(text string) Secret {
	return secret.New(text)
}
