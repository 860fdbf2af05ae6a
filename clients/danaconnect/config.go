// Package danaconnect holds what the clients of DANAConnect's APIs share. Each
// API has its own package; two accounts, independent of each other, serve them:
//
//	otp       one-time passwords of API 1.0   BasicConfig: user and password
//	contacts  bulk load of contacts           BasicConfig: the same account
//	api       API 2.0 with conversations      api.Config: OAuth 2.0 client
//
// The vendor's pages: "API REST – One time password OTP API",
// https://help.danaconnect.com/en-us/article/api-rest-one-time-password-otp-api-vnkelx
// and https://dev.danaconnect.com/developer-portal
package danaconnect

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// Vendor is the vendor's name in errors, metrics and variables.
const Vendor = "danaconnect"

// The base URLs that the vendor's pages name.
const (
	DefaultOTPURL      = "https://api.danaconnect.com/otp/1.0/"
	DefaultContactsURL = "https://ws.danaconnect.com/api/contacts/"
)

// basicProfile names the Basic login among the credentials.
const basicProfile = "danaconnect-otp"

// BasicConfig holds the settings of the OTP API and of the contact load, which
// share one login, with the prefix DANACONNECT_.
type BasicConfig struct {
	// Username is the platform user, without "@company". Required.
	Username string `env:"USERNAME" doc:"Platform user, without @company. The three together are the Basic login of API 1.0."`
	// Company is the company code; the login is Username@Company. Required.
	Company string `env:"COMPANY" doc:"Company code; the login is user@company."`
	// Password is the password of the platform login. Required.
	Password secret.String `env:"PASSWORD" doc:"Password of the platform login."`
	// OTPURL is the base of send and verify. Unset: DefaultOTPURL.
	OTPURL string `env:"OTP_URL" envDefault:"https://api.danaconnect.com/otp/1.0/" doc:"Base of the OTP API."`
	// ContactsURL is the base of the contact load. Unset: DefaultContactsURL.
	ContactsURL string `env:"CONTACTS_URL" envDefault:"https://ws.danaconnect.com/api/contacts/" doc:"Base of the contact bulk load."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate and Concurrency limit the calls that all workers together make with
	// this account; api.Config applies the same values to its own. Unset: no limit.
	Rate        settings.Rate  `env:"RATE" doc:"Most calls of each of the two accounts in a span of time, by all workers together, as N/duration (docs/admission.md). Unset: no limit."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of each of the two accounts at once, by all workers together. Unset: no limit."`
	// Breaker says when the calls of either of the two accounts stop for a while. Unset: 70%/30s.
	Breaker settings.Share `env:"BREAKER" envDefault:"70%/30s" doc:"Leaves the vendor in peace when this share of the calls of either of the two accounts fails within this time (at least 10 calls), as N%/duration (docs/admission.md); off for never."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: it permits plain http
	// on hosts other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether any part of the account is set. A worker without
// the account leaves its tasks to other workers; a partial account is an error.
func (c BasicConfig) Configured() bool {
	return c.Username != "" || c.Company != "" || !c.Password.Empty()
}

// Profile returns the account's credential as the fleet shares it.
func (c BasicConfig) Profile() admission.Profile {
	return admission.Profile{
		Name:    basicProfile,
		Timeout: c.Timeouts().WithDefaults().Call,
		Budget:  2 * time.Minute, // that of a passcode
		Identity: admission.Identity{
			Grant:    "basic",
			URL:      c.OTPURL,
			Username: c.user(),
			Secrets:  []secret.String{c.Password},
		},
	}
}

// Timeouts bounds the calls of this account.
func (c BasicConfig) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Validate returns one error that names every invalid variable.
func (c BasicConfig) Validate() error {
	_, otpErr := c.OTPBase()
	_, contactsErr := c.ContactsBase()
	return errors.Join(
		SettingError("DANACONNECT_USERNAME", clients.BasicUserProblem(c.Username)),
		SettingError("DANACONNECT_COMPANY", clients.BasicUserProblem(c.Company)),
		SettingError("DANACONNECT_USERNAME", c.companyProblem()),
		SettingError("DANACONNECT_PASSWORD", clients.SecretProblem(c.Password)),
		otpErr,
		contactsErr,
		SettingError("DANACONNECT_TIMEOUT", TimeoutProblem(c.Timeout)),
	)
}

// companyProblem finds a Username that already contains the company.
func (c BasicConfig) companyProblem() string {
	if c.Company != "" && strings.HasSuffix(c.Username, "@"+c.Company) {
		return "must be the user alone; Errand adds @company itself"
	}
	return ""
}

// OTPBase returns the base URL of the OTP API.
func (c BasicConfig) OTPBase() (clients.BaseURL, error) {
	raw := cmp.Or(c.OTPURL, DefaultOTPURL)
	return clients.ParseBaseURL("DANACONNECT_OTP_URL", raw, c.AllowInsecureHTTP)
}

// ContactsBase returns the base URL of the contact load.
func (c BasicConfig) ContactsBase() (clients.BaseURL, error) {
	raw := cmp.Or(c.ContactsURL, DefaultContactsURL)
	return clients.ParseBaseURL("DANACONNECT_CONTACTS_URL", raw, c.AllowInsecureHTTP)
}

// user returns the user part of HTTP Basic.
func (c BasicConfig) user() string {
	return c.Username + "@" + c.Company
}

// SettingError returns the error of one variable; nil if problem is empty.
func SettingError(variable, problem string) error {
	if problem == "" {
		return nil
	}
	return errors.New(variable + ": " + problem)
}

// TimeoutProblem says what is wrong with the setting TIMEOUT; "" if nothing is.
func TimeoutProblem(timeout time.Duration) string {
	if timeout < 0 {
		return "must not be negative"
	}
	return ""
}
