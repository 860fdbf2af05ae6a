package account

import (
	"errors"

	"errand.internal/clients"
	"errand.internal/internal/redisguard"
)

// Settings are the settings of one account, whatever its vendor: a pointer to a
// struct with env tags, as settings.Load reads them.
type Settings interface {
	// Configured reports whether any credential of the account is set. A worker
	// without one leaves the account's tasks to workers that have it.
	Configured() bool
	// Validate names every variable at fault.
	Validate() error
	// Timeouts are the bounds of one call.
	Timeouts() clients.Timeouts
	// Addresses are the account's base URLs.
	Addresses() []Address
	// CredentialVariables name what has to be set to configure the account.
	CredentialVariables() []string
	// SetAllowInsecureHTTP permits plain http on hosts other than loopback.
	SetAllowInsecureHTTP(allow bool)
	// UsePlaceholders replaces every credential, and fills in what an account
	// cannot be opened without, for an account that sends nothing: a dry run.
	UsePlaceholders()
}

// Address is a base URL and the variable that sets it.
type Address struct {
	Variable string
	URL      string
}

// Adviser is implemented by Settings that have something to tell an operator
// beside what is wrong: the doctor shows it.
type Adviser interface {
	Advice() []Advice
}

// Advice is one line for the doctor. Fix is empty if there is nothing to do.
type Advice struct {
	Name  string
	Level redisguard.Level
	Seen  string
	Fix   string
}

// Validate checks the accounts that are configured; one of which nothing is set
// is no fault.
func Validate(all []Settings) error {
	var faults []error
	for _, s := range all {
		if s.Configured() {
			faults = append(faults, s.Validate())
		}
	}
	return errors.Join(faults...)
}
