package config

import (
	"slices"
	"strings"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/queue"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// Account is an account as the settings describe it, configured or not.
type Account struct {
	account.Settings
	// Vendor is the vendor whose account it is.
	Vendor tasks.Vendor
	// Type is what kind of account it is.
	Type tasks.AccountType
}

// Name tells the accounts apart, in what an operator reads.
func (a Account) Name() string {
	return a.Type.Name
}

// Open opens the account with parts from to, and returns its task types.
func (a Account) Open(to *account.Account) ([]queue.Definition, error) {
	return a.Vendor.Open(a.Type, a.Settings, to)
}

// Accounts are the accounts of all vendors.
type Accounts []Account

// Unopened lists the account's task types as they are without it: tasks wait for
// a worker that has such an account.
func (a Account) Unopened() []queue.Definition {
	return a.Vendor.Unopened(a.Type)
}

// LoadAccounts reads the settings of one account of each type, without checking
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

// Validate names every variable at fault of the configured accounts.
func (as Accounts) Validate() error {
	var faults []error
	for _, a := range as.Configured() {
		faults = append(faults, a.Validate())
	}
	return settings.Collect(faults...)
}

// Configured lists the accounts of which a credential is set.
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

// CallTimeouts are the bounds of one call, by vendor.
func (as Accounts) CallTimeouts() map[string]time.Duration {
	bounds := map[string]time.Duration{}
	for _, a := range as {
		bounds[a.Vendor.Name] = max(bounds[a.Vendor.Name], a.Timeouts().WithDefaults().Call)
	}
	return bounds
}

// ways says what to set to have an account.
func (as Accounts) ways() string {
	var ways []string
	for _, a := range as {
		ways = append(ways, a.Name()+" ("+strings.Join(a.CredentialVariables(), ", ")+")")
	}
	return strings.Join(ways, ", ")
}
