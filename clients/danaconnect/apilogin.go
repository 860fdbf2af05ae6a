package danaconnect

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"errand.internal/clients"
)

// OpToken names the login in errors and metrics.
const OpToken = "token"

// unstatedLife is the life of a token that does not say: good for the call at
// hand and hardly more.
const unstatedLife = 30 * time.Second

// NewAPILogin makes the login to API 2.0, by OAuth2 client credentials. The
// error names every variable of cfg that is wrong.
func NewAPILogin(cfg APIConfig, caller *clients.Caller) (*clients.OAuth2, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	at, err := cfg.tokenURL()
	if err != nil {
		return nil, err
	}
	if caller == nil {
		return nil, errors.New("danaconnect: a caller is needed")
	}
	return &clients.OAuth2{
		Caller: caller, Op: OpToken, Profile: cfg.Profile().Name, URL: strings.TrimSuffix(at.Join(""), "/"),
		ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret,
		Form:     func() url.Values { return url.Values{"grant_type": {"client_credentials"}} },
		Unstated: unstatedLife, Longest: 30 * 24 * time.Hour,
	}, nil
}

// unsendable is an error about a request that can never be sent.
func unsendable(op, message string) *clients.Error {
	return &clients.Error{Vendor: Vendor, Op: op, Kind: clients.Invalid, Message: message, NotSent: true}
}
