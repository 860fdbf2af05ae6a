// Package dinero calls the API of Dinero (Visma) as a personal integration: one
// client, and an API key for each organization it may act for. A token belongs
// to one organization, and so do a missing subscription and a used-up quota:
// none of them stops the tasks of another organization.
//
// Dinero has no idempotency key. So that money is not booked twice, every create
// carries an ExternalReference by which it can be found again: see
// Client.FindInvoice.
//
// The vendor's pages: "Personal integration", https://api.dinero.dk/docs and
// https://developer.dinero.dk/documentation/error-and-status
package dinero

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// Vendor is the vendor's name in errors, metrics and variables.
const Vendor = "dinero"

// The addresses that the vendor's pages name.
const (
	DefaultTokenURL = "https://authz.dinero.dk/dineroapi/oauth/token"
	DefaultAPIURL   = "https://api.dinero.dk/"
)

// scope is all that a personal integration may do.
const scope = "read write"

// Config is one client and its organizations. The settings' names have the
// prefix DINERO_.
type Config struct {
	// ClientID and ClientSecret come from the vendor by mail. Needed.
	ClientID     string        `env:"CLIENT_ID" doc:"Client of the personal integration, from the vendor by mail."`
	ClientSecret secret.String `env:"CLIENT_SECRET" doc:"Secret of that client."`
	// APIKeys has a key for each organization; a key is made in the organization's
	// own settings. Needed.
	APIKeys secret.String `env:"API_KEYS" doc:"API key of each organization: organizationId=key[,organizationId=key...]."`
	// TokenURL is where tokens are had. Unset: the vendor's.
	TokenURL string `env:"TOKEN_URL" envDefault:"https://authz.dinero.dk/dineroapi/oauth/token" doc:"Where tokens are had."`
	// APIURL is the base of all calls. Unset: the vendor's.
	APIURL string `env:"API_URL" envDefault:"https://api.dinero.dk/" doc:"Base of the API."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate is how many calls the fleet makes of each organization in a span of time:
	// the vendor counts 100 a minute. Concurrency is how many at once; unset: as many
	// as there are.
	Rate        settings.Rate  `env:"RATE" envDefault:"95/1m" doc:"Most calls of each organization in a span of time, by all workers together, as N/duration (docs/limits.md); none for no limit. The vendor allows 100 a minute."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of each organization at once, by all workers together. Unset: no limit."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: plain http on hosts
	// other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether anything of the account is set. A worker that has
// nothing leaves the tasks to another; half an account is an error.
func (c Config) Configured() bool {
	return c.ClientID != "" || !c.ClientSecret.Empty() || !c.APIKeys.Empty()
}

// Timeouts bounds the calls of this account.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Profile is an organization's credential as the fleet shares it; a Login's
// Fetch completes it.
func (c Config) Profile(organization string) tokens.Profile {
	keys, _ := c.keys()
	return tokens.Profile{
		Name:    Vendor + "-" + organization,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: tokens.Identity{
			Grant:    "password",
			URL:      orDefault(c.TokenURL, DefaultTokenURL),
			ClientID: c.ClientID,
			Username: organization,
			Scope:    scope,
			Secrets:  []secret.String{c.ClientSecret, keys[organization]},
		},
	}
}

// OrganizationProfile is an organization as the fleet shares it: while it has no
// subscription its tasks rest, and those of other organizations run.
func (c Config) OrganizationProfile(organization string) tokens.Profile {
	return tokens.Profile{
		Name:    Vendor + "-org-" + organization,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: tokens.Identity{
			Grant:    "subscription",
			URL:      orDefault(c.APIURL, DefaultAPIURL),
			Username: organization,
		},
	}
}

// Organizations are those that have an API key.
func (c Config) Organizations() []string {
	keys, _ := c.keys()
	var ids []string
	for id := range keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Validate names every variable at fault, joined into one error.
func (c Config) Validate() error {
	_, err := c.check()
	return err
}

// checked is what of a good Config is worth reading once.
type checked struct {
	tokenURL string
	api      clients.BaseURL
	keys     map[string]secret.String // by organization
}

func (c Config) check() (checked, error) {
	var out checked
	var faults []error
	fault := func(text string) {
		faults = append(faults, errors.New("DINERO_"+text))
	}
	switch id := c.ClientID; {
	case id == "":
		fault("CLIENT_ID: is not set")
	case strings.Contains(id, ":"):
		fault(
			"CLIENT_ID: must not contain ':'",
		) // HTTP Basic ends the user part at the first colon
	case strings.ContainsFunc(id, isControl) || strings.TrimSpace(id) != id:
		fault(
			"CLIENT_ID: must not contain control characters or begin or end with a space",
		)
	}
	switch key := c.ClientSecret.Reveal(); {
	case key == "":
		fault("CLIENT_SECRET: is not set")
	case strings.ContainsFunc(key, isControl):
		fault(
			"CLIENT_SECRET: must not contain control characters, such as the end of a line",
		)
	}
	keys, err := c.keys()
	out.keys, faults = keys, append(faults, err)
	at, err := clients.ParseBaseURL(
		"DINERO_TOKEN_URL",
		orDefault(c.TokenURL, DefaultTokenURL),
		c.AllowInsecureHTTP,
	)
	out.tokenURL = strings.TrimSuffix(at.Join(""), "/")
	faults = append(faults, err)
	out.api, err = clients.ParseBaseURL(
		"DINERO_API_URL",
		orDefault(c.APIURL, DefaultAPIURL),
		c.AllowInsecureHTTP,
	)
	faults = append(faults, err)
	if c.Timeout < 0 {
		fault("TIMEOUT: must not be negative")
	}
	return out, errors.Join(faults...)
}

// keys reads APIKeys. An error names the entry by its number: its text is secret.
func (c Config) keys() (map[string]secret.String, error) {
	if strings.TrimSpace(c.APIKeys.Reveal()) == "" {
		return nil, errors.New("DINERO_API_KEYS: is not set")
	}
	keys := map[string]secret.String{}
	var faults []error
	for i, entry := range strings.Split(c.APIKeys.Reveal(), ",") {
		fault := func(text string) {
			faults = append(faults, fmt.Errorf("DINERO_API_KEYS: entry %d %s", i+1, text))
		}
		organization, key, found := strings.Cut(
			strings.TrimSpace(entry),
			"=",
		) // a key may itself hold a =
		switch _, twice := keys[organization]; {
		case !found || key == "":
			fault("must be written organizationId=key")
		case !IsOrganization(organization):
			fault("must begin with an organization id, which is digits")
		case strings.ContainsFunc(key, func(r rune) bool { return r == ' ' || isControl(r) }):
			fault("has a space or a control character in its key")
		case twice:
			fault("names an organization for the second time")
		default:
			keys[organization] = secret.New(key)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return keys, nil
}

// IsOrganization reports whether id can name an organization.
func IsOrganization(id string) bool {
	return id != "" && len(id) <= 20 && strings.Trim(id, "0123456789") == ""
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
