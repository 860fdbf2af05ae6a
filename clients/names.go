package clients

import (
	"errand.internal/internal/admission"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// The types of internal packages that appear in the API of the clients, for code of other
// modules, which cannot import those packages.
type (
	// Secret is a secret of a client's Config. It shows itself to nobody; NewSecret makes
	// one.
	Secret = secret.String
	// Rate, Share and Count are settings of a client's Config.
	Rate  = settings.Rate
	Share = settings.Share
	Count = settings.Count

	// TokenSource gives a client the tokens of its login: a worker shares them with the
	// fleet.
	TokenSource = tokens.Source
	// TokenProfile describes a login, and Grant is what it returned.
	TokenProfile = tokens.Profile
	Grant        = tokens.Grant

	// Gate admits the calls of a credential, as GateProfile describes it. Each gets a
	// Permit, to which the CallResult is reported with the Verdict on the credential.
	Gate        = admission.Gate
	GateProfile = admission.Profile
	Permit      = admission.Permit
	CallResult  = admission.Result
	Verdict     = admission.Verdict
	// CallRequest is a call that an Admitter is asked to admit.
	CallRequest = admission.Request
)

// NewSecret returns a secret.
func NewSecret(text string) Secret {
	return secret.New(text)
}
