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

// The addresses that the vendor's pages name.
const (
	DefaultTokenURL    = "https://auth.danaconnect.com/oauth2/token"
	DefaultAPIURL      = "https://appserv.danaconnect.com/api/2.0/"
	DefaultContactsURL = "https://ws.danaconnect.com/api/contacts/"
)

// APIConfig are the settings of API 2.0, with the prefix DANACONNECT_.
type APIConfig struct {
	// ClientID and ClientSecret come from the vendor's account manager. Needed.
	ClientID     string        `env:"CLIENT_ID" doc:"Client of API 2.0 (OAuth2 client credentials), from the vendor's account manager."`
	ClientSecret secret.String `env:"CLIENT_SECRET" doc:"Secret of that client."`
	// TokenURL is where tokens are had. Unset: the vendor's.
	TokenURL string `env:"TOKEN_URL" envDefault:"https://auth.danaconnect.com/oauth2/token" doc:"Where tokens of API 2.0 are had."`
	// APIURL is the base of all calls. Unset: the vendor's.
	APIURL string `env:"API_URL" envDefault:"https://appserv.danaconnect.com/api/2.0/" doc:"Base of API 2.0."`
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
func (c APIConfig) Configured() bool {
	return c.ClientID != "" || !c.ClientSecret.Empty()
}

// Profile is the account's credential as the fleet shares it; an APILogin's Fetch
// completes it.
func (c APIConfig) Profile() tokens.Profile {
	return tokens.Profile{
		Name:        "danaconnect-api",
		Timeout:     c.Timeouts().WithDefaults().Call,
		DefaultLife: unstatedLife,
		Identity: tokens.Identity{
			Grant:    "client_credentials",
			URL:      c.TokenURL,
			ClientID: c.ClientID,
			Secrets:  []secret.String{c.ClientSecret},
		},
	}
}

// Timeouts bounds the calls of this account.
func (c APIConfig) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Validate names every variable at fault, joined into one error.
func (c APIConfig) Validate() error {
	_, tokenErr := c.tokenURL()
	_, apiErr := c.apiURL()
	return errors.Join(
		append(c.credentialFaults(), tokenErr, apiErr, timeoutFault(c.Timeout))...)
}

func (c APIConfig) credentialFaults() []error {
	var faults []error
	switch id := c.ClientID; {
	case id == "":
		faults = append(faults, errors.New("DANACONNECT_CLIENT_ID: is not set"))
	case strings.Contains(id, ":"):
		// HTTP Basic ends the user part at the first colon.
		faults = append(faults, errors.New("DANACONNECT_CLIENT_ID: must not contain ':'"))
	case strings.ContainsFunc(id, isControl) || strings.TrimSpace(id) != id:
		faults = append(
			faults,
			errors.New(
				"DANACONNECT_CLIENT_ID: must not contain control characters or begin or end with a space",
			),
		)
	}
	switch key := c.ClientSecret.Reveal(); {
	case key == "":
		faults = append(faults, errors.New("DANACONNECT_CLIENT_SECRET: is not set"))
	case strings.ContainsFunc(key, isControl):
		faults = append(
			faults,
			errors.New(
				"DANACONNECT_CLIENT_SECRET: must not contain control characters, such as the end of a line",
			),
		)
	}
	return faults
}

func (c APIConfig) tokenURL() (clients.BaseURL, error) {
	return parseURL(
		"DANACONNECT_TOKEN_URL",
		c.TokenURL,
		DefaultTokenURL,
		c.AllowInsecureHTTP,
	)
}

func (c APIConfig) apiURL() (clients.BaseURL, error) {
	return parseURL("DANACONNECT_API_URL", c.APIURL, DefaultAPIURL, c.AllowInsecureHTTP)
}

func parseURL(variable, raw, fallback string, insecure bool) (clients.BaseURL, error) {
	if raw == "" {
		raw = fallback
	}
	return clients.ParseBaseURL(variable, raw, insecure)
}

func timeoutFault(d time.Duration) error {
	if d < 0 {
		return errors.New("DANACONNECT_TIMEOUT: must not be negative")
	}
	return nil
}
