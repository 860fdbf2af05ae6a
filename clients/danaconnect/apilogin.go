package danaconnect

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// OpToken names the login in errors and metrics.
const OpToken = clients.OpToken

const (
	// unstatedLife is the life of a token whose expires_in is missing, unreadable
	// or not above zero: good for the call at hand and hardly more.
	unstatedLife = 30 * time.Second
	// longestLife is the most that is believed of a token.
	longestLife = 30 * 24 * time.Hour
)

// APILogin gets tokens of API 2.0 by OAuth2 client credentials. Its Fetch is a
// tokens.Fetcher.
type APILogin struct {
	request clients.TokenRequest
	caller  *clients.Caller
}

var _ tokens.Fetcher = (*APILogin)(nil).Fetch

// NewAPILogin makes an APILogin. Its error names every variable of cfg that is wrong.
func NewAPILogin(cfg APIConfig, caller *clients.Caller) (*APILogin, error) {
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
	return &APILogin{caller: caller, request: clients.TokenRequest{
		URL:          strings.TrimSuffix(at.Join(""), "/"),
		ClientID:     cfg.ClientID,
		ClientSecret: cfg.ClientSecret,
		Form:         url.Values{"grant_type": {"client_credentials"}},
		Profile:      cfg.Profile().Name,
		DefaultLife:  unstatedLife,
		MaxLife:      longestLife,
	}}, nil
}

// Fetch logs in once; see clients.TokenRequest.
func (l *APILogin) Fetch(ctx context.Context) (tokens.Grant, error) {
	return l.request.Fetch(ctx, l.caller)
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
