package account

import (
	"errand.internal/clients"
	"errand.internal/internal/redisguard"
)

// Settings are the settings of one account of any vendor: a pointer to a struct with
// env tags, which settings.Load fills.
type Settings interface {
	// Configured reports whether any credential of the account is set. If none is, the
	// worker leaves the account's tasks to workers that have one.
	Configured() bool
	// Validate returns an error that names every invalid variable.
	Validate() error
	// Timeouts are the bounds of one call.
	Timeouts() clients.Timeouts
	// Addresses are the account's base URLs.
	Addresses() []Address
	// CredentialVariables are the names of the variables that configure the account.
	CredentialVariables() []string
	// SetAllowInsecureHTTP permits plain http on hosts other than loopback.
	SetAllowInsecureHTTP(allow bool)
	// UsePlaceholders replaces every credential and sets what is required to open the
	// account, for a dry run, which sends nothing.
	UsePlaceholders()
}

// Address is a base URL and the variable that sets it.
type Address struct {
	Variable string
	URL      string
}

// Adviser is implemented by Settings that have advice for an operator although they
// are valid. The doctor shows it.
type Adviser interface {
	Advice() []Advice
}

// Advice is one line of the doctor's report. Fix is empty if there is nothing to do.
type Advice struct {
	Name  string
	Level redisguard.Level
	Seen  string
	Fix   string
}
