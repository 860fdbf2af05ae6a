package annatest

import (
	"net/http"
	"strconv"
	"time"
)

// Format is how a sandbox writes ExpiresIn, which the vendor's page leaves
// open.
type Format string

// The formats.
const (
	Seconds     Format = "seconds"     // 3600
	Stamp       Format = "stamp"       // 20240131235959, in Options.Zone
	RFC3339     Format = "rfc3339"     // 2024-01-31T23:59:59Z
	EpochSecond Format = "epoch"       // 1706745599
	EpochMilli  Format = "epoch-milli" // 1706745599000
	Clock       Format = "clock"       // 01:00:00
	Empty       Format = "empty"       //
	Nonsense    Format = "nonsense"    // soon
)

// Options set up a sandbox. The zero value of a field takes its default.
type Options struct {
	// CompanyHash, User and Password are the one account; by default
	// "sandbox-company", "sandbox-user" and "sandbox-password".
	CompanyHash, User, Password string
	// TokenLife is how long a token is good, by default an hour.
	TokenLife time.Duration
	// ExpiresIn is how it is written, by default in seconds.
	ExpiresIn Format
	// Opaque tokens are no JWT, so that only ExpiresIn tells their life.
	Opaque bool
	// RefusedStatus answers a missing, expired or revoked token: 401 by default,
	// 403, or 200 with success:false. The page documents none of them.
	RefusedStatus int
	// RefuseRepeat answers the inactivation of an inactive user with
	// success:false instead of confirming it again. The page does not say.
	RefuseRepeat bool
	// Zone is the zone of the vendor's zoneless times, UTC by default.
	Zone *time.Location
	// Now is the vendor's clock, by default the machine's.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		field *string
		value string
	}{
		{&o.CompanyHash, "sandbox-company"},
		{&o.User, "sandbox-user"},
		{&o.Password, "sandbox-password"},
	} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.ExpiresIn == "" {
		o.ExpiresIn = Seconds
	}
	if o.RefusedStatus == 0 {
		o.RefusedStatus = http.StatusUnauthorized
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

const stampLayout = "20060102150405"

// expiresIn writes the life of a token that was issued at now.
func (o Options) expiresIn(now time.Time) string {
	end := now.Add(o.TokenLife)
	switch o.ExpiresIn {
	case Seconds:
		return strconv.FormatInt(int64(o.TokenLife/time.Second), 10)
	case Stamp:
		return end.In(o.Zone).Format(stampLayout)
	case RFC3339:
		return end.UTC().Format(time.RFC3339)
	case EpochSecond:
		return strconv.FormatInt(end.Unix(), 10)
	case EpochMilli:
		return strconv.FormatInt(end.UnixMilli(), 10)
	case Clock:
		return time.Time{}.Add(o.TokenLife).Format("15:04:05")
	case Nonsense:
		return "soon"
	case Empty:
		return ""
	}
	panic("annatest: no such format of ExpiresIn: " + string(o.ExpiresIn))
}
