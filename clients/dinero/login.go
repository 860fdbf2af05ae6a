package dinero

import (
	"errors"
	"net/url"
	"time"

	"errand.internal/clients"
)

// OpToken names the login in errors and metrics.
const OpToken = "token"

// NewLogin makes the login of one organization: the password grant, in which the
// API key is user and password. The vendor's page lists no errors of it. The
// error names every variable of cfg that is wrong.
func NewLogin(cfg Config, organization string, caller *clients.Caller) (*clients.OAuth2, error) {
	checked, err := cfg.check()
	if err != nil {
		return nil, err
	}
	key, known := checked.keys[organization]
	if !known || caller == nil {
		return nil, errors.New("dinero: an organization with an API key and a caller are needed")
	}
	return &clients.OAuth2{
		Caller: caller, Op: OpToken, Profile: cfg.Profile(organization).Name, URL: checked.tokenURL,
		ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret,
		Form: func() url.Values {
			return url.Values{"grant_type": {"password"}, "scope": {scope}, "username": {key.Reveal()}, "password": {key.Reveal()}}
		},
		Longest: 24 * time.Hour,
	}, nil
}

// unsendable is an error about a request that can never be sent.
func unsendable(op, message string) *clients.Error {
	return &clients.Error{Vendor: Vendor, Op: op, Kind: clients.Invalid, Message: message, NotSent: true}
}
