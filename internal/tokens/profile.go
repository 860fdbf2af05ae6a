package tokens

import (
	"time"

	"errand.internal/internal/admission"
)

// Profile describes one credential that logs in. Payloads choose a profile by its name
// and never see the rest.
type Profile struct {
	// Profile is what the breaker of the login guards. Its Timeout bounds one login.
	admission.Profile
	// Fetch logs in.
	Fetch Fetcher
	// DefaultLife is the life of a token if the vendor does not state it; 10
	// minutes if unset.
	DefaultLife time.Duration
	// MinRejectAge is the age below which a token is not to blame for a 401; 10
	// seconds if unset, and never more than a quarter of the token's life.
	MinRejectAge time.Duration
	// Exclusive: a new login ends the session of the previous one. Such a profile
	// logs in under the fleet's lease only, so it cannot log in without Redis.
	Exclusive bool
}

// The defaults and fixed times.
const (
	defaultLife   = 10 * time.Minute
	defaultMinAge = 10 * time.Second

	rejectsOffFor = 30 * time.Second // after a 401 on a fresh token
	suspectEvery  = 5 * time.Minute  // one suspicion per credential and fleet
	maxLife       = 366 * 24 * time.Hour
)

func (p Profile) withDefaults() Profile {
	if p.DefaultLife <= 0 {
		p.DefaultLife = defaultLife
	}
	if p.Timeout <= 0 {
		p.Timeout = admission.DefaultTimeout
	}
	if p.MinRejectAge <= 0 {
		p.MinRejectAge = defaultMinAge
	}
	return p
}
