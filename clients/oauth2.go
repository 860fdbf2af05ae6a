package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// OAuth2 gets tokens from a token endpoint (RFC 6749), whose client logs in with
// HTTP Basic. Its Fetch is a tokens.Fetcher.
//
// It is a plain form and not golang.org/x/oauth2: that package escapes id and
// secret before it puts them into HTTP Basic, which the vendors' own samples
// (curl -u) do not, and it would hide what the Caller sees, such as Retry-After,
// a body that broke off, or a request that never left.
type OAuth2 struct {
	Caller *Caller
	// Op names the login in errors and metrics.
	Op string
	// Profile is the credential that a refusal is about.
	Profile string
	// URL is the token endpoint.
	URL          string
	ClientID     string
	ClientSecret secret.String
	// Form makes the form anew for each login; it may hold secrets.
	Form func() url.Values
	// Unstated is the life of a token whose expires_in is missing, unreadable or
	// not above zero; 0 leaves it to the profile. Longest is the most that is
	// believed.
	Unstated, Longest time.Duration
}

var _ tokens.Fetcher = OAuth2{}.Fetch

// oauth2Refusals are the errors of RFC 6749 that speak of the credential, the
// client or its set-up: no later try can succeed until somebody changes them.
var oauth2Refusals = []string{
	"invalid_client", "unauthorized_client", "invalid_grant", "access_denied",
	"invalid_request", "invalid_scope", "unsupported_grant_type",
}

// OAuth2Refusals returns the list, for tests and documentation.
func OAuth2Refusals() []string { return slices.Clone(oauth2Refusals) }

// Fetch logs in once. A *tokens.RefusedError means that the credential, the
// client or its set-up was refused: one of OAuth2Refusals, or HTTP 400, 401 or
// 403. Everything else is an *Error about the service.
func (o OAuth2) Fetch(ctx context.Context) (tokens.Grant, error) {
	// A login is no attempt of the task that happens to need it.
	ctx, _ = WithAttempt(ctx, nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.URL, strings.NewReader(o.Form().Encode()))
	if err != nil {
		return tokens.Grant{}, &Error{Vendor: o.Caller.Vendor(), Op: o.Op, Kind: Invalid, Message: "the request cannot be built", NotSent: true}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(o.ClientID, o.ClientSecret.Reveal())
	answer, err := o.Caller.Do(ctx, o.Op, req)
	if err != nil {
		return tokens.Grant{}, err
	}
	return o.Grant(answer)
}

// oauth2Reply is a token answer, RFC 6749 §5. The fields stay raw, so that one
// of an odd type does not hide the others.
type oauth2Reply struct {
	AccessToken json.RawMessage `json:"access_token"`
	TokenType   json.RawMessage `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       json.RawMessage `json:"error"`
}

// Grant tells what a token answer means. A status of 429 or 5xx counts before
// the body: a service in trouble may say anything, and a credential must not be
// parked for it.
func (o OAuth2) Grant(a *Answer) (tokens.Grant, error) {
	var reply oauth2Reply
	undecoded := DecodeObject(a, &reply)
	if undecoded != nil {
		reply = oauth2Reply{}
	}
	code := jsonText(reply.Error)
	troubled := a.Status == http.StatusRequestTimeout || a.Status == http.StatusTooEarly || a.Status == http.StatusTooManyRequests || a.Status >= http.StatusInternalServerError
	switch {
	case troubled:
		return tokens.Grant{}, StatusError(o.Caller.Vendor(), o.Op, a)
	case slices.Contains(oauth2Refusals, code):
		return tokens.Grant{}, o.refused("the token request was answered with " + code)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return tokens.Grant{}, o.refused(fmt.Sprintf("the token request was answered with HTTP %d", a.Status))
	case a.Status < 200 || a.Status > 299:
		return tokens.Grant{}, StatusError(o.Caller.Vendor(), o.Op, a)
	}
	unreadable := func(why string) (tokens.Grant, error) {
		return tokens.Grant{}, UnreadableError(o.Caller.Vendor(), o.Op, a, why)
	}
	token := jsonText(reply.AccessToken)
	switch {
	case undecoded != nil:
		return unreadable(undecoded.Error())
	case Stated(reply.Error):
		return unreadable("it has an error that the standard does not list")
	case token == "":
		return unreadable("access_token is missing, empty or no text")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return unreadable("access_token cannot stand in a header")
	case Stated(reply.TokenType) && !strings.EqualFold(jsonText(reply.TokenType), "Bearer"):
		return unreadable("token_type is not Bearer")
	}
	return tokens.Grant{Value: secret.New(token), Life: o.life(reply.ExpiresIn)}, nil
}

// life reads expires_in: seconds, as a number or as its text.
func (o OAuth2) life(raw json.RawMessage) time.Duration {
	var literal Text
	if !Stated(raw) || literal.UnmarshalJSON(raw) != nil {
		return o.Unstated
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(literal)), 64)
	switch {
	case err != nil, !(seconds > 0): // also what is no number at all
		return o.Unstated
	case seconds >= o.Longest.Seconds():
		return o.Longest
	}
	return time.Duration(seconds * float64(time.Second))
}

func (o OAuth2) refused(reason string) error {
	return &tokens.RefusedError{Profile: o.Profile, Reason: reason}
}
