package config

import (
	"slices"
	"strings"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// Account has the settings of one account, which may be configured or not.
type Account struct {
	account.Settings
	// Vendor is the account's vendor.
	Vendor tasks.Vendor
	// Type is the account's type, one of Vendor.Accounts.
	Type tasks.AccountType
}

// Name is the account's unique name in messages for operators.
func (a Account) Name() string {
	return a.Type.Name
}

// Open opens the account with parts from to, and returns its task types, bound to it.
func (a Account) Open(to *account.Account) ([]worker.Definition, error) {
	return a.Vendor.Open(a.Type, a.Settings, to)
}

// Unopened lists the account's task types for a worker without the account: their
// tasks wait for a worker that has it.
func (a Account) Unopened() []worker.Definition {
	return a.Vendor.Unopened(a.Type)
}

// Accounts are the accounts of all vendors.
type Accounts []Account

// LoadAccounts reads the settings of one account of each type. It does not validate
// them.
func LoadAccounts(environ map[string]string) (Accounts, error) {
	var accounts Accounts
	var faults []error
	for _, v := range all.Vendors {
		for _, t := range v.Accounts {
			s := t.Settings()
			faults = append(faults, settings.Load(s, environ))
			accounts = append(accounts, Account{
				Settings: s,
				Vendor:   v,
				Type:     t,
			})
		}
	}
	return accounts, settings.Collect(faults...)
}

// AllowInsecureHTTP permits plain http on hosts other than loopback.
func (as Accounts) AllowInsecureHTTP(allow bool) {
	for _, a := range as {
		a.SetAllowInsecureHTTP(allow)
	}
}

// Validate returns an error that names every invalid variable of the configured
// accounts.
func (as Accounts) Validate() error {
	var faults []error
	for _, a := range as.Configured() {
		faults = append(faults, a.Validate())
	}
	return settings.Collect(faults...)
}

// Configured lists the accounts that have a credential.
func (as Accounts) Configured() Accounts {
	return slices.DeleteFunc(slices.Clone(as), func(a Account) bool { return !a.Configured() })
}

// Vendors lists the names of the accounts' vendors, each once.
func (as Accounts) Vendors() []string {
	var names []string
	for _, a := range as {
		if !slices.Contains(names, a.Vendor.Name) {
			names = append(names, a.Vendor.Name)
		}
	}
	return names
}

// CallTimeouts returns the longest timeout of a call, by vendor.
func (as Accounts) CallTimeouts() map[string]time.Duration {
	timeouts := map[string]time.Duration{}
	for _, a := range as {
		timeouts[a.Vendor.Name] = max(timeouts[a.Vendor.Name], a.Timeouts().WithDefaults().Call)
	}
	return timeouts
}

// credentialVariables lists the variables that configure each account.
func (as Accounts) credentialVariables() string {
	var list []string
	for _, a := range as {
		list = append(list, a.Name()+" ("+strings.Join(a.CredentialVariables(), ", ")+")")
	}
	return strings.Join(list, ", ")
}
