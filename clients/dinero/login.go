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

// OpToken names the login in errors and metrics.
const OpToken = clients.OpToken

// longestLife is the most that is believed of a token.
const longestLife = 24 * time.Hour

// Login gets the tokens of one organization by the password grant, in which the
// API key is user and password. Its Fetch is a tokens.Fetcher.
type Login struct {
	request clients.TokenRequest // but for the key
	key     secret.String
	caller  *clients.Caller
}

var _ tokens.Fetcher = (*Login)(nil).Fetch

// NewLogin makes the Login of one organization. Its error names every variable
// of cfg that is wrong.
func NewLogin(cfg Config, organization string, caller *clients.Caller) (*Login, error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	key, known := checked.keys[organization]
	if !known || caller == nil {
		return nil, errors.New(
			"dinero: an organization with an API key and a caller are needed",
		)
	}
	return &Login{
		key:    key,
		caller: caller,
		request: clients.TokenRequest{
			URL:          checked.tokenURL,
			ClientID:     cfg.ClientID,
			ClientSecret: cfg.ClientSecret,
			Profile:      cfg.Profile(organization).Name,
			MaxLife:      longestLife, // a life that is not stated is the profile's to say
		},
	}, nil
}

// Fetch logs in once; see clients.TokenRequest. The vendor's page lists no errors
// at all. A refresh token is not asked for.
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

// unsendable is an error about a request that can never be sent.
func unsendable(op, message string) *clients.Error {
	return &clients.Error{
		Vendor:  Vendor,
		Op:      op,
		Kind:    clients.Invalid,
		Message: message,
		NotSent: true,
	}
}
