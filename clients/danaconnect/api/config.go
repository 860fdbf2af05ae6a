package api

import (
	"cmp"
	"errors"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// The URLs that the vendor's pages name.
const (
	DefaultTokenURL = "https://auth.danaconnect.com/oauth2/token"
	DefaultAPIURL   = "https://appserv.danaconnect.com/api/2.0/"
)

// Config holds the settings of API 2.0, with the prefix DANACONNECT_.
type Config struct {
	// ClientID and ClientSecret come from the vendor's account manager. Required.
	ClientID     string        `env:"CLIENT_ID" doc:"Client of API 2.0 (OAuth2 client credentials), from the vendor's account manager."`
	ClientSecret secret.String `env:"CLIENT_SECRET" doc:"Secret of that client."`
	// TokenURL is where tokens are fetched. Unset: DefaultTokenURL.
	TokenURL string `env:"TOKEN_URL" envDefault:"https://auth.danaconnect.com/oauth2/token" doc:"Where tokens of API 2.0 are had."`
	// APIURL is the base of all calls. Unset: DefaultAPIURL.
	APIURL string `env:"API_URL" envDefault:"https://appserv.danaconnect.com/api/2.0/" doc:"Base of API 2.0."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate and Concurrency limit the calls that all workers together make with
	// this account; danaconnect.BasicConfig applies the same values to its own.
	// Unset: no limit.
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
func (c Config) Configured() bool {
	return c.ClientID != "" || !c.ClientSecret.Empty()
}

// Profile returns the account's credential as the fleet shares it, without its
// Fetch, which is the Login's.
func (c Config) Profile() tokens.Profile {
	return tokens.Profile{
		Profile: admission.Profile{
			Name:    "danaconnect-api",
			Timeout: c.Timeouts().WithDefaults().Call,
			Identity: admission.Identity{
				Grant:    "client_credentials",
				URL:      c.TokenURL,
				ClientID: c.ClientID,
				Secrets:  []secret.String{c.ClientSecret},
			},
		},
		DefaultLife: defaultLife,
	}
}

// Timeouts bounds the calls of this account.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Validate returns one error that names every invalid variable.
func (c Config) Validate() error {
	_, tokenErr := c.tokenURL()
	_, apiErr := c.apiURL()
	return errors.Join(
		danaconnect.SettingError("DANACONNECT_CLIENT_ID", clients.BasicUserProblem(c.ClientID)),
		danaconnect.SettingError("DANACONNECT_CLIENT_SECRET", clients.SecretProblem(c.ClientSecret)),
		tokenErr,
		apiErr,
		danaconnect.SettingError("DANACONNECT_TIMEOUT", danaconnect.TimeoutProblem(c.Timeout)),
	)
}

func (c Config) tokenURL() (clients.BaseURL, error) {
	raw := cmp.Or(c.TokenURL, DefaultTokenURL)
	return clients.ParseBaseURL("DANACONNECT_TOKEN_URL", raw, c.AllowInsecureHTTP)
}

func (c Config) apiURL() (clients.BaseURL, error) {
	raw := cmp.Or(c.APIURL, DefaultAPIURL)
	return clients.ParseBaseURL("DANACONNECT_API_URL", raw, c.AllowInsecureHTTP)
}
