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

// OpToken names a token request in errors and metrics.
const OpToken = "token"

// TokenRequest asks for a token of OAuth 2.0 (RFC 6749), whatever the grant. The
// client's id and secret travel by HTTP Basic.
//
// It is a plain form and not golang.org/x/oauth2: that package escapes id and
// secret before it puts them into HTTP Basic, which the vendors' own samples
// (curl -u) do not, and it would hide what the Caller sees, such as Retry-After, a
// body that broke off, or a request that never left.
type TokenRequest struct {
	URL          string
	ClientID     string
	ClientSecret secret.String
	// Form has grant_type, and what the grant needs beside it.
	Form url.Values
	// Profile names the credential in a refusal.
	Profile string
	// DefaultLife is the life of a token whose expires_in is missing, unreadable or
	// not above zero; MaxLife is the most that is believed.
	DefaultLife, MaxLife time.Duration
}

// tokenRefusals are the errors of RFC 6749 that speak of the credential, the
// client or its set-up: no later try can succeed until somebody changes them.
var tokenRefusals = []string{
	"invalid_client", "unauthorized_client", "invalid_grant", "access_denied",
	"invalid_request", "invalid_scope", "unsupported_grant_type",
}

// TokenRefusals returns the list, for tests and documentation.
func TokenRefusals() []string {
	return slices.Clone(tokenRefusals)
}

// Fetch logs in once, as a tokens.Fetcher does. A *tokens.RefusedError means that
// the credential or its set-up was refused: one of TokenRefusals, or HTTP 400, 401
// or 403. Everything else is an *Error about the service.
func (r TokenRequest) Fetch(ctx context.Context, caller *Caller) (tokens.Grant, error) {
	// A login is no attempt of the task that happens to need it.
	ctx, _ = WithAttempt(ctx, nil)
	req, err := http.NewRequestWithContext(
		ctx,
		http.MethodPost,
		r.URL,
		strings.NewReader(r.Form.Encode()),
	)
	if err != nil {
		return tokens.Grant{}, InvalidRequest(caller.Vendor(), OpToken, "the request cannot be built")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(r.ClientID, r.ClientSecret.Reveal())
	answer, err := caller.Do(ctx, OpToken, req)
	if err != nil {
		return tokens.Grant{}, err
	}
	return r.grant(caller.Vendor(), answer)
}

// tokenReply is a token answer, RFC 6749 §5. The fields stay raw, so that one of
// an odd type does not hide the others.
type tokenReply struct {
	AccessToken json.RawMessage `json:"access_token"`
	TokenType   json.RawMessage `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       json.RawMessage `json:"error"`
}

// grant tells what a token answer means. A status of 429 or 5xx counts before
// the body: a service in trouble may say anything, and a credential must not
// rest for it.
func (r TokenRequest) grant(vendor string, a *Answer) (tokens.Grant, error) {
	var reply tokenReply
	undecoded := DecodeObject(a, &reply)
	if undecoded != nil {
		reply = tokenReply{}
	}
	refused := func(with string) (tokens.Grant, error) {
		return tokens.Grant{}, &tokens.RefusedError{
			Profile: r.Profile,
			Reason:  "the token request was answered with " + with,
		}
	}
	code := plainText(reply.Error)
	switch {
	case a.Status == http.StatusRequestTimeout,
		a.Status == http.StatusTooEarly,
		a.Status == http.StatusTooManyRequests,
		a.Status >= http.StatusInternalServerError:
		return tokens.Grant{}, StatusError(vendor, OpToken, a)
	case slices.Contains(tokenRefusals, code):
		return refused(code)
	case a.Status == http.StatusBadRequest,
		a.Status == http.StatusUnauthorized,
		a.Status == http.StatusForbidden:
		return refused(fmt.Sprintf("HTTP %d", a.Status))
	case a.Status < 200 || a.Status > 299:
		return tokens.Grant{}, StatusError(vendor, OpToken, a)
	}
	unreadable := func(why string) (tokens.Grant, error) {
		return tokens.Grant{}, UnreadableError(vendor, OpToken, a, why)
	}
	token, kind := plainText(reply.AccessToken), plainText(reply.TokenType)
	switch {
	case undecoded != nil:
		return unreadable(undecoded.Error())
	case Stated(reply.Error):
		return unreadable("it has an error that the standard does not list")
	case token == "":
		return unreadable("access_token is missing, empty or no text")
	case !VisibleASCII(token):
		return unreadable("access_token cannot stand in a header")
	case Stated(reply.TokenType) && !strings.EqualFold(kind, "Bearer"):
		return unreadable("token_type is not Bearer")
	}
	return tokens.Grant{Value: secret.New(token), Life: r.life(reply.ExpiresIn)}, nil
}

// life reads expires_in: seconds, as a number or as its text.
func (r TokenRequest) life(raw json.RawMessage) time.Duration {
	var literal Text
	if !Stated(raw) || literal.UnmarshalJSON(raw) != nil {
		return r.DefaultLife
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(literal)), 64)
	switch {
	case err != nil, !(seconds > 0): // also what is no number at all
		return r.DefaultLife
	case seconds >= r.MaxLife.Seconds():
		return r.MaxLife
	}
	return time.Duration(seconds * float64(time.Second))
}

// plainText is the text of a JSON string, "" for everything else.
func plainText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
