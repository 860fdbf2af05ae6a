// Package danaconnect calls the APIs of DANAConnect. There are two accounts,
// each of which works without the other:
//
//	OTPConfig  user and password   OTPClient: one-time passwords of API 1.0
//	                               ContactsClient: bulk load of contacts
//	APIConfig  OAuth2 client       APIClient: API 2.0, conversations among it
//
// The vendor's pages: "API REST – One time password OTP API",
// https://help.danaconnect.com/en-us/article/api-rest-one-time-password-otp-api-vnkelx
// and https://dev.danaconnect.com/developer-portal
package danaconnect

import (
	"errors"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// profileOTP names the Basic login among the credentials.
const profileOTP = "danaconnect-otp"

// Vendor is the vendor's name in errors, metrics and variables.
const Vendor = "danaconnect"

// DefaultOTPURL is the base URL that the vendor's page names.
const DefaultOTPURL = "https://api.danaconnect.com/otp/1.0/"

// OTPConfig are the settings of the OTP API and of the contact load, which share
// a login, with the prefix DANACONNECT_.
type OTPConfig struct {
	// Username is the platform user, without "@company". Needed.
	Username string `env:"USERNAME" doc:"Platform user, without @company. The three together are the Basic login of API 1.0."`
	// Company is the company code; the login is Username@Company. Needed.
	Company string `env:"COMPANY" doc:"Company code; the login is user@company."`
	// Password is the one of the platform login. Needed.
	Password secret.String `env:"PASSWORD" doc:"Password of the platform login."`
	// OTPURL is the base of send and verify. Unset: the vendor's.
	OTPURL string `env:"OTP_URL" envDefault:"https://api.danaconnect.com/otp/1.0/" doc:"Base of the OTP API."`
	// ContactsURL is the base of the contact load. Unset: the vendor's.
	ContactsURL string `env:"CONTACTS_URL" envDefault:"https://ws.danaconnect.com/api/contacts/" doc:"Base of the contact bulk load."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate is how many calls the fleet makes of each of the two accounts in a span of time, Concurrency
	// how many at once. Unset: as many as there are.
	Rate        settings.Rate  `env:"RATE" doc:"Most calls of each of the two accounts in a span of time, by all workers together, as N/duration (docs/limits.md). Unset: no limit."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of each of the two accounts at once, by all workers together. Unset: no limit."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: plain http on hosts
	// other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether anything of the account is set. A worker that has
// nothing leaves the tasks to another; half an account is an error.
func (c OTPConfig) Configured() bool {
	return c.Username != "" || c.Company != "" || !c.Password.Empty()
}

// Profile is the account's credential as the fleet shares it.
func (c OTPConfig) Profile() tokens.Profile {
	return tokens.Profile{
		Name:    profileOTP,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: tokens.Identity{
			Grant:    "basic",
			URL:      c.OTPURL,
			Username: c.login(),
			Secrets:  []secret.String{c.Password},
		},
	}
}

// Timeouts bounds the calls of this account.
func (c OTPConfig) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Validate names every variable at fault, joined into one error.
func (c OTPConfig) Validate() error {
	_, otpErr := c.baseURL()
	_, contactsErr := c.contactsURL()
	return errors.Join(
		append(c.credentialFaults(), otpErr, contactsErr, timeoutFault(c.Timeout))...)
}

func (c OTPConfig) credentialFaults() []error {
	var faults []error
	fault := func(text string) {
		faults = append(faults, errors.New("DANACONNECT_"+text))
	}
	for _, part := range []struct{ name, value string }{{"USERNAME", c.Username}, {"COMPANY", c.Company}} {
		switch {
		case part.value == "":
			fault(part.name + ": is not set")
		case strings.Contains(part.value, ":"):
			// HTTP Basic ends the user part at the first colon.
			fault(part.name + ": must not contain ':'")
		case strings.ContainsFunc(part.value, isControl) || strings.TrimSpace(part.value) != part.value:
			fault(
				part.name + ": must not contain control characters or begin or end with a space",
			)
		}
	}
	if c.Company != "" && strings.HasSuffix(c.Username, "@"+c.Company) {
		fault("USERNAME: must be the user alone; Errand adds @company itself")
	}
	switch password := c.Password.Reveal(); {
	case password == "":
		fault("PASSWORD: is not set")
	case strings.ContainsFunc(password, isControl):
		fault("PASSWORD: must not contain control characters, such as the end of a line")
	}
	return faults
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f
}

func (c OTPConfig) baseURL() (clients.BaseURL, error) {
	return parseURL("DANACONNECT_OTP_URL", c.OTPURL, DefaultOTPURL, c.AllowInsecureHTTP)
}

func (c OTPConfig) contactsURL() (clients.BaseURL, error) {
	return parseURL(
		"DANACONNECT_CONTACTS_URL",
		c.ContactsURL,
		DefaultContactsURL,
		c.AllowInsecureHTTP,
	)
}

// login is the user part of HTTP Basic.
func (c OTPConfig) login() string {
	return c.Username + "@" + c.Company
}
