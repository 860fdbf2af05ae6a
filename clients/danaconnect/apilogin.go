package danaconnect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// OpToken names the login in errors and metrics.
const OpToken = "token"

const (
	// unstatedLife is the life of a token whose expires_in is missing, unreadable
	// or not above zero: good for the call at hand and hardly more.
	unstatedLife = 30 * time.Second
	// longestLife is the most that is believed of a token.
	longestLife = 30 * 24 * time.Hour
)

// APILogin gets tokens of API 2.0 by OAuth2 client credentials. Its Fetch is a
// tokens.Fetcher.
//
// It is a plain form and not golang.org/x/oauth2: that package escapes id and
// secret before it puts them into HTTP Basic, which the vendor's own sample
// (curl -u) does not, and it would hide what the Caller sees, such as
// Retry-After, a body that broke off, or a request that never left.
type APILogin struct {
	at     clients.BaseURL
	id     string
	secret secret.String
	caller *clients.Caller
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
	return &APILogin{at: at, id: cfg.ClientID, secret: cfg.ClientSecret, caller: caller}, nil
}

// loginRefusals are the errors of RFC 6749 that speak of the client or its
// set-up: no later try can succeed until somebody changes them.
var loginRefusals = []string{
	"invalid_client", "unauthorized_client", "invalid_grant", "access_denied",
	"invalid_request", "invalid_scope", "unsupported_grant_type",
}

// LoginRefusals returns the list, for tests and documentation.
func LoginRefusals() []string { return slices.Clone(loginRefusals) }

// loginReply is a token answer, RFC 6749 §5. The fields stay raw, so that one of
// an odd type does not hide the others.
type loginReply struct {
	AccessToken json.RawMessage `json:"access_token"`
	TokenType   json.RawMessage `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       json.RawMessage `json:"error"`
}

// Fetch logs in once. A *tokens.RefusedError means that the client or its set-up
// was refused: one of LoginRefusals, or HTTP 400, 401 or 403. Everything else is
// a *clients.Error about the service.
func (l *APILogin) Fetch(ctx context.Context) (tokens.Grant, error) {
	// A login is no attempt of the task that happens to need it.
	ctx, _ = clients.WithAttempt(ctx, nil)
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(l.at.Join(""), "/"), strings.NewReader(form.Encode()))
	if err != nil {
		return tokens.Grant{}, unsendable(OpToken, "the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(l.id, l.secret.Reveal())
	answer, err := l.caller.Do(ctx, OpToken, req)
	if err != nil {
		return tokens.Grant{}, err
	}
	return readGrant(answer)
}

// readGrant tells what a token answer means. A status of 429 or 5xx counts
// before the body: a service in trouble may say anything, and a credential must
// not be parked for it.
func readGrant(a *clients.Answer) (tokens.Grant, error) {
	var reply loginReply
	undecoded := clients.DecodeObject(a, &reply)
	if undecoded != nil {
		reply = loginReply{}
	}
	code := text(reply.Error)
	troubled := a.Status == http.StatusRequestTimeout || a.Status == http.StatusTooEarly || a.Status == http.StatusTooManyRequests || a.Status >= http.StatusInternalServerError
	switch {
	case troubled:
		return tokens.Grant{}, clients.StatusError(Vendor, OpToken, a)
	case slices.Contains(loginRefusals, code):
		return tokens.Grant{}, refusal("the token request was answered with " + code)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return tokens.Grant{}, refusal(fmt.Sprintf("the token request was answered with HTTP %d", a.Status))
	case a.Status < 200 || a.Status > 299:
		return tokens.Grant{}, clients.StatusError(Vendor, OpToken, a)
	}
	unreadable := func(why string) (tokens.Grant, error) {
		return tokens.Grant{}, clients.UnreadableError(Vendor, OpToken, a, why)
	}
	token, kind := text(reply.AccessToken), text(reply.TokenType)
	switch {
	case undecoded != nil:
		return unreadable(undecoded.Error())
	case len(reply.Error) > 0 && string(reply.Error) != "null":
		return unreadable("it has an error that the standard does not list")
	case token == "":
		return unreadable("access_token is missing, empty or no text")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return unreadable("access_token cannot stand in a header")
	case kind != "" && !strings.EqualFold(kind, "Bearer"), kind == "" && len(reply.TokenType) > 0 && string(reply.TokenType) != "null":
		return unreadable("token_type is not Bearer")
	}
	return tokens.Grant{Value: secret.New(token), Life: tokenLife(reply.ExpiresIn)}, nil
}

// tokenLife reads expires_in: seconds, as a number or as its text.
func tokenLife(raw json.RawMessage) time.Duration {
	var literal clients.Text
	if len(raw) == 0 || literal.UnmarshalJSON(raw) != nil {
		return unstatedLife
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(literal)), 64)
	switch {
	case err != nil, !(seconds > 0): // also what is no number at all
		return unstatedLife
	case seconds >= longestLife.Seconds():
		return longestLife
	}
	return time.Duration(seconds * float64(time.Second))
}

// text is the text of a JSON string, "" for everything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func refusal(reason string) error {
	return &tokens.RefusedError{Profile: Vendor + "-api", Reason: reason}
}

// unsendable is an error about a request that can never be sent.
func unsendable(op, message string) *clients.Error {
	return &clients.Error{Vendor: Vendor, Op: op, Kind: clients.Invalid, Message: message, NotSent: true}
}
