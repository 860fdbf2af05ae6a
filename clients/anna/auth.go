package anna

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// The login operation. A refusal of it is a *tokens.RefusedError, so it has no
// rules of its own.
const (
	getTokenOp   = "token"
	getTokenPath = "REST/Credentials/GetToken"
)

// Login fetches tokens from GetToken. Its Fetch is a tokens.Fetcher.
type Login struct {
	endpoint
	credentials loginRequest
	zone        *time.Location
	now         func() time.Time
}

var _ tokens.Fetcher = (*Login)(nil).Fetch

// NewLogin returns a Login. Its error names every invalid variable of cfg.
func NewLogin(cfg Config, caller *clients.Caller) (*Login, error) {
	valid, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	if caller == nil {
		return nil, errors.New("anna: a caller is required")
	}
	return &Login{
		endpoint: endpoint{base: valid.base, caller: caller},
		credentials: loginRequest{
			Hash: cfg.CompanyHash.Reveal(),
			User: cfg.User,
			Pass: cfg.Password.Reveal(),
		},
		zone: valid.zone,
		now:  time.Now,
	}, nil
}

// Fetch logs in once. A *tokens.RefusedError means that the vendor refused the
// credential itself: success:false, no token, or a 401 or 403. Every other error
// is a *clients.Error about the service. The granted life is always known: where
// the vendor leaves it open, it is five minutes.
func (l *Login) Fetch(ctx context.Context) (tokens.Grant, error) {
	// The login must not count as a call of the task that needs the token.
	ctx, _ = clients.WithAttempt(ctx, nil)
	ctx = clients.WithRepeatable(ctx, true)
	req, err := l.request(ctx, getTokenOp, getTokenPath, secret.String{}, l.credentials)
	if err != nil {
		return tokens.Grant{}, err
	}
	answer, err := l.caller.Do(ctx, getTokenOp, req)
	if err != nil {
		return tokens.Grant{}, err
	}
	body, seen, why := classify(answer)
	switch {
	case seen == Contradicted:
		return tokens.Grant{}, l.answerError(getTokenOp, answer.Status, contradicted)
	case seen == NotDone:
		return tokens.Grant{}, l.answerError(getTokenOp, answer.Status, notDone.after(answer))
	case seen == byStatus && unauthorized(answer):
		return tokens.Grant{}, l.refused(fmt.Sprintf("the login was answered with HTTP %d", answer.Status))
	case seen == byStatus:
		return tokens.Grant{}, clients.StatusError(l.caller.Vendor(), getTokenOp, answer)
	case seen == Refused:
		return tokens.Grant{}, l.refused("the login was answered with success:false")
	}
	return l.grant(answer, body, why)
}

// grant reads the token out of a 2xx that is not a refusal. An object without a
// token is a refusal too, whatever its success field says: logging in again and
// again could lock the account. why, if not empty, says why the answer is not a
// clear success.
func (l *Login) grant(a *clients.Answer, body reply, why string) (tokens.Grant, error) {
	unreadable := func(why string) (tokens.Grant, error) {
		return tokens.Grant{}, clients.UnreadableError(l.caller.Vendor(), getTokenOp, a, why)
	}
	if !body.object {
		return unreadable(why)
	}
	var data struct {
		Token     json.RawMessage
		ExpiresIn json.RawMessage
	}
	if len(body.Data) > 0 && clients.DecodeMembers(body.Data, &data) != nil {
		return unreadable("data is no object, or has a field twice")
	}
	var token string
	if len(data.Token) > 0 && json.Unmarshal(data.Token, &token) != nil {
		return unreadable("data.Token is no text")
	}
	token = strings.TrimSpace(token)
	switch {
	case token == "":
		return tokens.Grant{}, l.refused("the login was answered without a token")
	case why != "":
		return unreadable(why)
	case !clients.VisibleASCII(token):
		return unreadable("data.Token is not a valid header value")
	}
	life := tokenLife(scalarText(data.ExpiresIn), token, vendorTime(a.Header, l.now), l.zone)
	return tokens.Grant{Value: secret.New(token), Life: life}, nil
}

func (l *Login) refused(reason string) error {
	return &tokens.RefusedError{Profile: l.caller.Vendor(), Reason: reason}
}

const (
	// defaultTokenLife is assumed where the expiry is unknown or implausible. A
	// token that expires earlier shows in the vendor's answer.
	defaultTokenLife = 5 * time.Minute
	// maxTokenLife is the longest plausible life.
	maxTokenLife = 30 * 24 * time.Hour
)

// tokenLife returns how long a token is valid from now, the vendor's time. The
// vendor documents neither the format nor the zone of ExpiresIn, so every
// plausible reading is tried. The JWT's own life is read as well, and the
// shorter one counts.
func tokenLife(expiresIn, jwt string, now time.Time, zone *time.Location) time.Duration {
	life, known := parseExpiresIn(strings.TrimSpace(expiresIn), now, zone)
	if claimed, ok := jwtLife(jwt); ok && (!known || claimed < life) {
		life = claimed
		known = true
	}
	if !known || life <= 0 || life > maxTokenLife {
		return defaultTokenLife
	}
	return life
}

var (
	onlyDigits    = regexp.MustCompile(`^[0-9]+$`)
	clockDuration = regexp.MustCompile(`^([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])$`)
)

// parseExpiresIn tries the formats in order: each one reads only what the
// earlier ones do not match.
func parseExpiresIn(text string, now time.Time, zone *time.Location) (time.Duration, bool) {
	if onlyDigits.MatchString(text) {
		return parseDigits(text, now, zone)
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Sub(now), true
	}
	if m := clockDuration.FindStringSubmatch(text); m != nil {
		d, err := time.ParseDuration(m[1] + "h" + m[2] + "m" + m[3] + "s")
		return d, err == nil
	}
	return 0, false
}

// parseDigits reads a timestamp, milliseconds or seconds since the epoch, or a
// number of seconds.
func parseDigits(text string, now time.Time, zone *time.Location) (time.Duration, bool) {
	if len(text) == len(timestampLayout) {
		t, ok := parseTimestamp(text, zone)
		return t.Sub(now), ok
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, false
	case n > 1e12:
		return time.UnixMilli(n).Sub(now), true
	case n > 1e9:
		return time.Unix(n, 0).Sub(now), true
	}
	return time.Duration(n) * time.Second, true
}

// jwtLife returns exp minus iat of a JWT. It never compares exp with the local
// time: both claims come from one clock, so a difference between two machines'
// clocks does not matter. The signature is not verified, since a forged claim
// could cost no more than an extra login.
func jwtLife(jwt string) (time.Duration, bool) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return 0, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return 0, false
	}
	var claims struct {
		Exp *float64 `json:"exp"`
		Iat *float64 `json:"iat"`
	}
	if !json.Valid(payload) || clients.DecodeMembers(payload, &claims) != nil || claims.Exp == nil || claims.Iat == nil {
		return 0, false
	}
	// Clamped before the conversion, because a Duration cannot hold every float.
	seconds := min(max(*claims.Exp-*claims.Iat, -1), maxTokenLife.Seconds()+1)
	return time.Duration(seconds * float64(time.Second)), true
}

// vendorTime returns the vendor's time of an answer, from its Date header, or
// the local time without one.
func vendorTime(h http.Header, now func() time.Time) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return now()
}

// timestampLayout is the vendor's YYYYMMDDhhmmss, which has no zone.
const timestampLayout = "20060102150405"

// parseTimestamp reads a timestamp as UTC and in zone, and returns the earlier
// instant: discarding a token too early is harmless, using it too late is not.
func parseTimestamp(text string, zone *time.Location) (time.Time, bool) {
	utc, err := time.Parse(timestampLayout, text)
	if err != nil {
		return time.Time{}, false
	}
	local, err := time.ParseInLocation(timestampLayout, text, zone)
	if err != nil {
		return time.Time{}, false
	}
	if local.Before(utc) {
		return local, true
	}
	return utc, true
}
