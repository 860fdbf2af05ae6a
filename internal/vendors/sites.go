package vendors

import (
	"errors"
	"slices"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
)

// Site is one account as its settings have it: what the rest of Errand must know
// of a vendor to check, to describe and to reach it.
type Site struct {
	Settings
	// Vendor is the name in errors and metrics.
	Vendor string
	// Name tells the accounts of one vendor apart.
	Name string
	// Title is the vendor's name as people write it.
	Title string
	// Login are the variables of the credential.
	Login []string
	// Addresses are the base URLs.
	Addresses []Address
	// Alone has this account only, so that another's fault does not stand in its
	// way.
	Alone Config

	insecure *bool
}

// Settings are those of one account, whatever the vendor.
type Settings interface {
	// Configured reports whether anything of the account is set.
	Configured() bool
	// Validate names every variable at fault.
	Validate() error
	// Timeouts bounds one call.
	Timeouts() clients.Timeouts
}

// Address is one base URL, and the variable that it is from.
type Address struct{ Variable, URL string }

// Prefix begins the names of the vendor's variables.
func (s Site) Prefix() string {
	return strings.ToUpper(s.Vendor) + "_"
}

// Sites lists every account, configured or not: each field of c once.
func (c Config) Sites() []Site {
	return c.sites()
}

func (c *Config) sites() []Site {
	return []Site{
		{
			Settings: c.DANAConnect,
			insecure: &c.DANAConnect.AllowInsecureHTTP,
			Alone:    Config{DANAConnect: c.DANAConnect},
			Vendor:   danaconnect.Vendor,
			Name:     danaconnect.Vendor,
			Title:    "DANAConnect",
			Login: []string{
				"DANACONNECT_USERNAME",
				"DANACONNECT_COMPANY",
				"DANACONNECT_PASSWORD",
			},
			Addresses: []Address{
				{"DANACONNECT_OTP_URL", c.DANAConnect.OTPURL},
				{"DANACONNECT_CONTACTS_URL", c.DANAConnect.ContactsURL},
			},
		},
		{
			Settings: c.DANAConnectAPI,
			insecure: &c.DANAConnectAPI.AllowInsecureHTTP,
			Alone:    Config{DANAConnectAPI: c.DANAConnectAPI},
			Vendor:   danaconnect.Vendor,
			Name:     danaconnect.Vendor + " API 2.0",
			Title:    "DANAConnect",
			Login:    []string{"DANACONNECT_CLIENT_ID", "DANACONNECT_CLIENT_SECRET"},
			Addresses: []Address{
				{"DANACONNECT_TOKEN_URL", c.DANAConnectAPI.TokenURL},
				{"DANACONNECT_API_URL", c.DANAConnectAPI.APIURL},
			},
		},
		{
			Settings:  c.AnnA,
			insecure:  &c.AnnA.AllowInsecureHTTP,
			Alone:     Config{AnnA: c.AnnA},
			Vendor:    anna.Vendor,
			Name:      anna.Vendor,
			Title:     "AnnA",
			Login:     []string{"ANNA_COMPANY_HASH", "ANNA_USER", "ANNA_PASSWORD"},
			Addresses: []Address{{"ANNA_URL", c.AnnA.URL}},
		},
		{
			Settings:  c.DCKAP,
			insecure:  &c.DCKAP.AllowInsecureHTTP,
			Alone:     Config{DCKAP: c.DCKAP},
			Vendor:    dckap.Vendor,
			Name:      dckap.Vendor,
			Title:     "DCKAP Integrator",
			Login:     []string{"DCKAP_TOKEN", "DCKAP_USERNAME", "DCKAP_PASSWORD"},
			Addresses: []Address{{"DCKAP_URL", c.DCKAP.URL}},
		},
		{
			Settings: c.Dinero,
			insecure: &c.Dinero.AllowInsecureHTTP,
			Alone:    Config{Dinero: c.Dinero},
			Vendor:   dinero.Vendor,
			Name:     dinero.Vendor,
			Title:    "Dinero",
			Login: []string{
				"DINERO_CLIENT_ID",
				"DINERO_CLIENT_SECRET",
				"DINERO_API_KEYS",
			},
			Addresses: []Address{
				{"DINERO_TOKEN_URL", c.Dinero.TokenURL},
				{"DINERO_API_URL", c.Dinero.APIURL},
			},
		},
	}
}

// AllowInsecureHTTP permits plain http on hosts other than loopback.
func (c Config) AllowInsecureHTTP(allow bool) Config {
	for _, s := range c.sites() {
		*s.insecure = allow
	}
	return c
}

// Validate names every variable at fault of the accounts that are configured.
// An account of which nothing is set is no fault.
func (c Config) Validate() error {
	var faults []error
	for _, s := range c.Sites() {
		if s.Configured() {
			faults = append(faults, s.Validate())
		}
	}
	return errors.Join(faults...)
}

// Timeouts are the bounds of one call, by vendor.
func (c Config) Timeouts() map[string]time.Duration {
	bounds := map[string]time.Duration{}
	for _, s := range c.Sites() {
		bounds[s.Vendor] = s.Timeouts().WithDefaults().Call
	}
	return bounds
}

// Configured lists the vendors that have an account.
func (c Config) Configured() []string {
	var names []string
	for _, s := range c.Sites() {
		if s.Configured() && !slices.Contains(names, s.Vendor) {
			names = append(names, s.Vendor)
		}
	}
	return names
}
