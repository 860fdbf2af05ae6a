package api

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

const (
	// defaultLife is the life of a token whose expires_in is missing, unreadable or
	// not above zero: enough for the call at hand and little more.
	defaultLife = 30 * time.Second
	// maxLife is the longest life that is believed.
	maxLife = 30 * 24 * time.Hour
)

// Login gets tokens of API 2.0 by OAuth 2.0 client credentials.
type Login struct {
	request clients.TokenRequest
	caller  *clients.Caller
}

var _ tokens.Fetcher = (*Login)(nil).Fetch

// NewLogin returns the Login of one account. An invalid cfg is refused with an
// error that names every invalid variable.
func NewLogin(cfg Config, caller *clients.Caller) (*Login, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tokenURL, err := cfg.tokenURL()
	if err != nil {
		return nil, err
	}
	if caller == nil {
		return nil, errors.New("danaconnect: a caller is needed")
	}
	return &Login{
		caller: caller,
		request: clients.TokenRequest{
			URL:          strings.TrimSuffix(tokenURL.Join(""), "/"),
			ClientID:     cfg.ClientID,
			ClientSecret: cfg.ClientSecret,
			Form:         url.Values{"grant_type": {"client_credentials"}},
			Profile:      cfg.Profile().Name,
			DefaultLife:  defaultLife,
			MaxLife:      maxLife,
		},
	}, nil
}

// Fetch logs in once; see clients.TokenRequest.Fetch. It is a tokens.Fetcher.
func (l *Login) Fetch(ctx context.Context) (tokens.Grant, error) {
	return l.request.Fetch(ctx, l.caller)
}
