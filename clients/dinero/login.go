package dinero

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

// Login gets the tokens of one organization by the password grant, in which the
// API key is user and password. Its Fetch is a tokens.Fetcher.
//
// It is a plain form and not golang.org/x/oauth2: that package escapes id and
// secret before it puts them into HTTP Basic, which the vendor's samples do not.
type Login struct {
	url, profile string
	id           string
	secret, key  secret.String
	caller       *clients.Caller
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
		return nil, errors.New("dinero: an organization with an API key and a caller are needed")
	}
	return &Login{
		url: checked.tokenURL, profile: cfg.Profile(organization).Name,
		id: cfg.ClientID, secret: cfg.ClientSecret, key: key, caller: caller,
	}, nil
}

// loginRefusals are the errors of RFC 6749 that speak of the key, the client or
// its set-up: no later try can succeed until somebody changes them. The vendor's
// page lists no errors at all.
var loginRefusals = []string{
	"invalid_grant", "invalid_client", "unauthorized_client", "access_denied",
	"invalid_request", "invalid_scope", "unsupported_grant_type",
}

// Fetch logs in once. A *tokens.RefusedError means that the key or the client
// was refused: one of the errors above, or HTTP 400, 401 or 403. Everything else
// is a *clients.Error about the service.
func (l *Login) Fetch(ctx context.Context) (tokens.Grant, error) {
	// A login is no attempt of the task that happens to need it.
	ctx, _ = clients.WithAttempt(ctx, nil)
	form := url.Values{
		"grant_type": {"password"}, "scope": {scope}, "username": {l.key.Reveal()}, "password": {l.key.Reveal()},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, strings.NewReader(form.Encode()))
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
	return l.grant(answer)
}

// loginReply is a token answer. The fields stay raw, so that one of an odd type
// does not hide the others. refresh_token is null, and not asked for.
type loginReply struct {
	AccessToken json.RawMessage `json:"access_token"`
	TokenType   json.RawMessage `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       json.RawMessage `json:"error"`
}

// grant tells what a token answer means. A status of 429 or 5xx counts before
// the body: a service in trouble may say anything, and a credential must not
// rest for it.
func (l *Login) grant(a *clients.Answer) (tokens.Grant, error) {
	var reply loginReply
	undecoded := clients.DecodeObject(a, &reply)
	if undecoded != nil {
		reply = loginReply{}
	}
	code := text(reply.Error)
	switch {
	case a.Status == http.StatusRequestTimeout, a.Status == http.StatusTooEarly, a.Status == http.StatusTooManyRequests, a.Status >= http.StatusInternalServerError:
		return tokens.Grant{}, clients.StatusError(Vendor, OpToken, a)
	case slices.Contains(loginRefusals, code):
		return tokens.Grant{}, l.refused("the token request was answered with " + code)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return tokens.Grant{}, l.refused(fmt.Sprintf("the token request was answered with HTTP %d", a.Status))
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
	case present(reply.Error):
		return unreadable("it has an error that the standard does not list")
	case token == "":
		return unreadable("access_token is missing, empty or no text")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return unreadable("access_token cannot stand in a header")
	case present(reply.TokenType) && !strings.EqualFold(kind, "Bearer"):
		return unreadable("token_type is not Bearer")
	}
	return tokens.Grant{Value: secret.New(token), Life: tokenLife(reply.ExpiresIn)}, nil
}

func (l *Login) refused(reason string) error {
	return &tokens.RefusedError{Profile: l.profile, Reason: reason}
}

// longestLife is the most that is believed of a token.
const longestLife = 24 * time.Hour

// tokenLife reads expires_in: seconds, as a number or as its text; 0 if it does
// not say, which leaves the life to the profile's default.
func tokenLife(raw json.RawMessage) time.Duration {
	var literal clients.Text
	if !present(raw) || literal.UnmarshalJSON(raw) != nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(literal)), 64)
	switch {
	case err != nil, !(seconds > 0): // also what is no number at all
		return 0
	case seconds >= longestLife.Seconds():
		return longestLife
	}
	return time.Duration(seconds * float64(time.Second))
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// text is the text of a JSON string, "" for everything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// unsendable is an error about a request that can never be sent.
func unsendable(op, message string) *clients.Error {
	return &clients.Error{Vendor: Vendor, Op: op, Kind: clients.Invalid, Message: message, NotSent: true}
}
