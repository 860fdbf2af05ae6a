package anna

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// shortLife is the life of a token whose expiry nobody can tell, or whose
	// stated expiry cannot be right; an expired token is then found out by the
	// vendor's answer.
	shortLife = 5 * time.Minute
	// longestLife is the most that is believed of a token.
	longestLife = 30 * 24 * time.Hour
)

// tokenLife tells how long a token is good. The vendor says neither what
// ExpiresIn is written in nor in which zone, so every reading that makes sense
// is tried (VENDORS §2), the JWT is asked as well, and the earlier one counts.
// at is the vendor's clock when it answered, as well as we know it.
func tokenLife(expiresIn, jwt string, at time.Time, zone *time.Location) time.Duration {
	life, known := statedLife(strings.TrimSpace(expiresIn), at, zone)
	if claimed, ok := claimedLife(jwt); ok && (!known || claimed < life) {
		life, known = claimed, true
	}
	if !known || life <= 0 || life > longestLife {
		return shortLife
	}
	return life
}

var (
	onlyDigits = regexp.MustCompile(`^[0-9]+$`)
	clockSpan  = regexp.MustCompile(`^([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])$`)
)

// statedLife reads ExpiresIn. The order of the readings matters: each one is
// tried only on what the earlier ones did not claim.
func statedLife(text string, at time.Time, zone *time.Location) (time.Duration, bool) {
	if onlyDigits.MatchString(text) {
		if len(text) == len(stampLayout) {
			t, ok := parseStamp(text, zone)
			return t.Sub(at), ok
		}
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return 0, false
		case n > 1e12:
			return time.UnixMilli(n).Sub(at), true
		case n > 1e9:
			return time.Unix(n, 0).Sub(at), true
		}
		return time.Duration(n) * time.Second, true
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Sub(at), true
	}
	if m := clockSpan.FindStringSubmatch(text); m != nil {
		d, err := time.ParseDuration(m[1] + "h" + m[2] + "m" + m[3] + "s")
		return d, err == nil
	}
	return 0, false
}

// claimedLife is exp minus iat of a JWT. It is never exp minus the local time:
// both claims come from one clock, so that no two machines are compared.
// Nothing is verified; a forged claim could only cost us a login.
func claimedLife(jwt string) (time.Duration, bool) {
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
	if json.Unmarshal(payload, &claims) != nil || claims.Exp == nil || claims.Iat == nil {
		return 0, false
	}
	// Bounded before the conversion: a Duration cannot hold every float.
	seconds := min(max(*claims.Exp-*claims.Iat, -1), longestLife.Seconds()+1)
	return time.Duration(seconds * float64(time.Second)), true
}

// vendorNow is the vendor's clock at the time of an answer: its Date header,
// or else our own clock.
func vendorNow(h http.Header, now func() time.Time) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return now()
}

// stampLayout is the vendor's YYYYMMDDhhmmss, which names no zone.
const stampLayout = "20060102150405"

// parseStamp reads a YYYYMMDDhhmmss as UTC and as zone, and returns the
// instant that comes first: what is thrown away early does no harm, what is
// used late does.
func parseStamp(text string, zone *time.Location) (time.Time, bool) {
	utc, err := time.Parse(stampLayout, text)
	if err != nil {
		return time.Time{}, false
	}
	local, err := time.ParseInLocation(stampLayout, text, zone)
	if err != nil {
		return time.Time{}, false
	}
	if local.Before(utc) {
		return local, true
	}
	return utc, true
}
