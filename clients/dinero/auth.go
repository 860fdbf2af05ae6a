package dinero

import (
	"context"
	"errors"
	"net/url"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// OpToken is the login, as errors and metrics name it.
const OpToken = clients.OpToken

// scope covers everything that a personal integration may do.
const scope = "read write"

// maxTokenLife caps the lifetime that a token answer may state.
const maxTokenLife = 24 * time.Hour

// Login fetches the tokens of one organization with the password grant, in which
// the API key is both the user and the password. Its Fetch is a tokens.Fetcher.
type Login struct {
	request clients.TokenRequest // without the key
	key     secret.String
	caller  *clients.Caller
}

var _ tokens.Fetcher = (*Login)(nil).Fetch

// NewLogin returns the Login of one organization. The error names every invalid
// variable of cfg.
func NewLogin(cfg Config, organization string, caller *clients.Caller) (*Login, error) {
	validated, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	key, known := validated.keys[organization]
	if !known || caller == nil {
		return nil, errors.New("dinero: an organization with an API key and a caller are required")
	}
	return &Login{
		key:    key,
		caller: caller,
		request: clients.TokenRequest{
			URL:          validated.tokenURL,
			ClientID:     cfg.ClientID,
			ClientSecret: cfg.ClientSecret,
			Profile:      cfg.Profile(organization).Name,
			MaxLife:      maxTokenLife, // without expires_in, the profile's default applies
		},
	}, nil
}

// Fetch logs in once; see clients.TokenRequest. The vendor documents no errors of
// the token endpoint. Fetch does not request a refresh token.
func (l *Login) Fetch(ctx context.Context) (tokens.Grant, error) {
	r := l.request
	r.Form = url.Values{
		"grant_type": {"password"},
		"scope":      {scope},
		"username":   {l.key.Reveal()},
		"password":   {l.key.Reveal()},
	}
	return r.Fetch(ctx, l.caller)
}
