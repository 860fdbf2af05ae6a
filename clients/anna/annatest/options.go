package annatest

import (
	"cmp"
	"net/http"
	"strconv"
	"time"
)

// Format is the format of ExpiresIn, which the vendor's page does not specify.
type Format string

// The formats.
const (
	Seconds     Format = "seconds"     // 3600
	Timestamp   Format = "timestamp"   // 20240131235959, in Options.Zone
	RFC3339     Format = "rfc3339"     // 2024-01-31T23:59:59Z
	EpochSecond Format = "epoch"       // 1706745599
	EpochMilli  Format = "epoch-milli" // 1706745599000
	Clock       Format = "clock"       // 01:00:00
	Empty       Format = "empty"       // an empty string
	Invalid     Format = "invalid"     // soon
)

// Options configure a sandbox. A zero field takes its default.
type Options struct {
	// CompanyHash, User and Password are the account. The defaults are
	// "sandbox-company", "sandbox-user" and "sandbox-password".
	CompanyHash string
	User        string
	Password    string
	// TokenLife is how long a token is valid. The default is an hour.
	TokenLife time.Duration
	// ExpiresIn is the format of the token's life. The default is Seconds.
	ExpiresIn Format
	// Opaque makes tokens that are not JWTs, so that only ExpiresIn states their
	// life.
	Opaque bool
	// RefusedStatus is the status for a missing, expired or revoked token: 401
	// (the default), 403, or 200 with success:false. The page documents none.
	RefusedStatus int
	// RefuseRepeat refuses the inactivation of an inactive user with
	// success:false. The default confirms it again. The page documents neither.
	RefuseRepeat bool
	// Zone is the zone of times that are written without one. The default is UTC.
	Zone *time.Location
	// Now is the vendor's clock. The default is time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.CompanyHash = cmp.Or(o.CompanyHash, "sandbox-company")
	o.User = cmp.Or(o.User, "sandbox-user")
	o.Password = cmp.Or(o.Password, "sandbox-password")
	o.TokenLife = cmp.Or(o.TokenLife, time.Hour)
	o.ExpiresIn = cmp.Or(o.ExpiresIn, Seconds)
	o.RefusedStatus = cmp.Or(o.RefusedStatus, http.StatusUnauthorized)
	o.Zone = cmp.Or(o.Zone, time.UTC)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

const timestampLayout = "20060102150405"

// expiresIn formats the life of a token issued at now.
func (o Options) expiresIn(now time.Time) string {
	end := now.Add(o.TokenLife)
	switch o.ExpiresIn {
	case Seconds:
		return strconv.FormatInt(int64(o.TokenLife/time.Second), 10)
	case Timestamp:
		return end.In(o.Zone).Format(timestampLayout)
	case RFC3339:
		return end.UTC().Format(time.RFC3339)
	case EpochSecond:
		return strconv.FormatInt(end.Unix(), 10)
	case EpochMilli:
		return strconv.FormatInt(end.UnixMilli(), 10)
	case Clock:
		return time.Time{}.Add(o.TokenLife).Format("15:04:05")
	case Invalid:
		return "soon"
	case Empty:
		return ""
	}
	panic("annatest: unknown format of ExpiresIn: " + string(o.ExpiresIn))
}
