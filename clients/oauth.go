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

// TokenRequest requests an OAuth 2.0 token (RFC 6749) with any grant. The client's
// id and secret are sent by HTTP Basic.
//
// It does not use golang.org/x/oauth2. That package escapes id and secret before it
// puts them into HTTP Basic, which the vendors' own samples (curl -u) do not, and it
// hides what the Caller reports: Retry-After, a body that was cut off, a request
// that was not sent.
type TokenRequest struct {
	URL          string
	ClientID     string
	ClientSecret secret.String
	// Form contains grant_type and the parameters of the grant.
	Form url.Values
	// Profile names the credential in a refusal.
	Profile string
	// DefaultLife is the life of a token whose expires_in is missing, unreadable or
	// not positive. MaxLife caps a longer expires_in.
	DefaultLife time.Duration
	MaxLife     time.Duration
}

// tokenRefusals are the errors of RFC 6749 about the credential, the client or its
// configuration: no retry can succeed until one of these is changed.
var tokenRefusals = []string{
	"invalid_client", "unauthorized_client", "invalid_grant", "access_denied",
	"invalid_request", "invalid_scope", "unsupported_grant_type",
}

// TokenRefusals returns the OAuth errors that mean a refused login, for tests and
// documentation.
func TokenRefusals() []string {
	return slices.Clone(tokenRefusals)
}

// Fetch logs in once, as a tokens.Fetcher. A *tokens.RefusedError means that the
// credential or its configuration was refused: one of TokenRefusals, or HTTP 400,
// 401 or 403. Any other error is an *Error about the service.
func (r TokenRequest) Fetch(ctx context.Context, caller *Caller) (tokens.Grant, error) {
	// A login does not count as an attempt of the task that needs the token.
	ctx, _ = WithAttempt(ctx, nil)
	ctx = WithRepeatable(ctx, true)
	form := strings.NewReader(r.Form.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, form)
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

// tokenReply is the answer to a token request, RFC 6749 §5. The fields stay raw, so
// that one of an unexpected type does not hide the others.
type tokenReply struct {
	AccessToken json.RawMessage `json:"access_token"`
	TokenType   json.RawMessage `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       json.RawMessage `json:"error"`
}

// grant interprets the answer to a token request. A status of 429 or 5xx counts
// before the body: a service in trouble may say anything, and that must not be
// taken for a refused credential.
func (r TokenRequest) grant(vendor string, a *Answer) (tokens.Grant, error) {
	var reply tokenReply
	decodeErr := DecodeObject(a, &reply)
	if decodeErr != nil {
		reply = tokenReply{}
	}
	code := stringOf(reply.Error)
	switch {
	case isUnsettled(a.Status):
		return tokens.Grant{}, StatusError(vendor, OpToken, a)
	case slices.Contains(tokenRefusals, code):
		return tokens.Grant{}, r.refused(code)
	case a.Status == http.StatusBadRequest,
		a.Status == http.StatusUnauthorized,
		a.Status == http.StatusForbidden:
		return tokens.Grant{}, r.refused(fmt.Sprintf("HTTP %d", a.Status))
	case a.Status < 200 || a.Status > 299:
		return tokens.Grant{}, StatusError(vendor, OpToken, a)
	case decodeErr != nil:
		return tokens.Grant{}, UnreadableError(vendor, OpToken, a, decodeErr.Error())
	}
	if problem := reply.problem(); problem != "" {
		return tokens.Grant{}, UnreadableError(vendor, OpToken, a, problem)
	}
	return tokens.Grant{
		Value: secret.New(stringOf(reply.AccessToken)),
		Life:  r.life(reply.ExpiresIn),
	}, nil
}

// isUnsettled reports whether a status says that the service could not decide on
// the login now.
func isUnsettled(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// refused returns the error of a login that the answer refuses.
func (r TokenRequest) refused(answer string) error {
	return &tokens.RefusedError{
		Profile: r.Profile,
		Reason:  "the token request was answered with " + answer,
	}
}

// problem says why a successful answer contains no usable token; "" if it does.
func (r tokenReply) problem() string {
	token := stringOf(r.AccessToken)
	switch {
	case IsSet(r.Error):
		return "it contains an error that RFC 6749 does not list"
	case token == "":
		return "access_token is missing, empty or not a string"
	case !VisibleASCII(token):
		return "access_token contains characters that a header cannot carry"
	case IsSet(r.TokenType) && !strings.EqualFold(stringOf(r.TokenType), "Bearer"):
		return "token_type is not Bearer"
	}
	return ""
}

// life reads expires_in, in seconds, as a JSON number or string.
func (r TokenRequest) life(raw json.RawMessage) time.Duration {
	var literal Text
	if !IsSet(raw) || literal.UnmarshalJSON(raw) != nil {
		return r.DefaultLife
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(literal)), 64)
	switch {
	case err != nil, !(seconds > 0): // NaN is not positive either
		return r.DefaultLife
	case seconds >= r.MaxLife.Seconds():
		return r.MaxLife
	}
	return time.Duration(seconds * float64(time.Second))
}

// stringOf returns the value of a JSON string, "" for any other JSON.
func stringOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
