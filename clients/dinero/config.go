// Package dinero calls the API of Dinero (Visma) as a personal integration: one
// OAuth client, and one API key for each organization it may act for. A token
// belongs to one organization, and so do a missing subscription and an exhausted
// quota. None of them stops the tasks of another organization.
//
// Dinero has no idempotency key. To avoid booking money twice, every create
// carries an ExternalReference by which the record can be found if the answer is
// lost: see Client.ReconcileInvoice.
//
// The vendor's pages: "Personal integration", https://api.dinero.dk/docs and
// https://developer.dinero.dk/documentation/error-and-status
package dinero

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// Vendor is the vendor's name in errors, metrics and variables.
const Vendor = "dinero"

// The URLs on the vendor's pages.
const (
	DefaultTokenURL = "https://authz.dinero.dk/dineroapi/oauth/token"
	DefaultAPIURL   = "https://api.dinero.dk/"
)

// Config holds the settings of one client and its organizations. Their names have
// the prefix DINERO_.
type Config struct {
	// ClientID and ClientSecret come from the vendor by mail. Required.
	ClientID     string        `env:"CLIENT_ID" doc:"Client of the personal integration, from the vendor by mail."`
	ClientSecret secret.String `env:"CLIENT_SECRET" doc:"Secret of that client."`
	// APIKeys holds the key of each organization. A key is created in the
	// organization's own settings. Required.
	APIKeys secret.String `env:"API_KEYS" doc:"API key of each organization: organizationId=key[,organizationId=key...]."`
	// TokenURL is the token endpoint. Unset: the vendor's.
	TokenURL string `env:"TOKEN_URL" envDefault:"https://authz.dinero.dk/dineroapi/oauth/token" doc:"Token endpoint."`
	// APIURL is the base URL of the API. Unset: the vendor's.
	APIURL string `env:"API_URL" envDefault:"https://api.dinero.dk/" doc:"Base URL of the API."`
	// Timeout bounds one call, including its body. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate limits the calls that all workers together make for each organization
	// per window. Unset: 95 a minute; the vendor allows 100. Concurrency limits
	// their calls in flight. Unset: unlimited.
	Rate        settings.Rate  `env:"RATE" envDefault:"95/1m" doc:"Most calls of each organization in a span of time, by all workers together, as N/duration (docs/admission.md); none for no limit. The vendor allows 100 a minute."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of each organization at once, by all workers together. Unset: no limit."`
	// Breaker says when the calls of an organization stop for a while. Unset: 70%/30s.
	Breaker settings.Share `env:"BREAKER" envDefault:"70%/30s" doc:"Leaves the vendor in peace when this share of the calls of an organization fails within this time (at least 10 calls), as N%/duration (docs/admission.md); off for never."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: it permits plain http
	// on hosts other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether any credential of the account is set. A worker
// without one leaves the tasks to other workers; an incomplete account is an
// error of Validate.
func (c Config) Configured() bool {
	return c.ClientID != "" || !c.ClientSecret.Empty() || !c.APIKeys.Empty()
}

// Timeouts returns the timeouts for the Caller of this account.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Profile identifies an organization's credential to all workers. The caller adds
// the Fetch of the organization's Login.
func (c Config) Profile(organization string) tokens.Profile {
	keys, _ := c.keys()
	return tokens.Profile{Profile: admission.Profile{
		Name:    Vendor + "-" + organization,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: admission.Identity{
			Grant:    "password",
			URL:      cmp.Or(c.TokenURL, DefaultTokenURL),
			ClientID: c.ClientID,
			Username: organization,
			Scope:    scope,
			Secrets:  []secret.String{c.ClientSecret, keys[organization]},
		},
	}}
}

// OrganizationProfile identifies an organization to all workers. While it has no
// subscription its tasks are parked; those of other organizations run.
func (c Config) OrganizationProfile(organization string) admission.Profile {
	return admission.Profile{
		Name:    Vendor + "-org-" + organization,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: admission.Identity{
			Grant:    "subscription",
			URL:      cmp.Or(c.APIURL, DefaultAPIURL),
			Username: organization,
		},
		Refusal: "organization " + organization + " was refused",
	}
}

// Organizations returns the ids of the organizations with an API key, sorted.
func (c Config) Organizations() []string {
	keys, _ := c.keys()
	return slices.Sorted(maps.Keys(keys))
}

// Validate names every invalid variable, joined into one error.
func (c Config) Validate() error {
	_, err := c.validate()
	return err
}

// validatedConfig holds the parsed values of a valid Config.
type validatedConfig struct {
	tokenURL string
	api      clients.BaseURL
	keys     map[string]secret.String // by organization
}

func (c Config) validate() (validatedConfig, error) {
	var problems []error
	report := func(variable, problem string) {
		if problem != "" {
			problems = append(problems, errors.New("DINERO_"+variable+": "+problem))
		}
	}
	report("CLIENT_ID", clients.BasicUserProblem(c.ClientID))
	report("CLIENT_SECRET", clients.SecretProblem(c.ClientSecret))
	keys, err := c.keys()
	problems = append(problems, err)
	token, err := clients.ParseBaseURL(
		"DINERO_TOKEN_URL",
		cmp.Or(c.TokenURL, DefaultTokenURL),
		c.AllowInsecureHTTP,
	)
	problems = append(problems, err)
	api, err := clients.ParseBaseURL(
		"DINERO_API_URL",
		cmp.Or(c.APIURL, DefaultAPIURL),
		c.AllowInsecureHTTP,
	)
	problems = append(problems, err)
	if c.Timeout < 0 {
		report("TIMEOUT", "must not be negative")
	}
	return validatedConfig{
		tokenURL: strings.TrimSuffix(token.Join(""), "/"),
		api:      api,
		keys:     keys,
	}, errors.Join(problems...)
}

// keys parses APIKeys. An error names an entry by its number, because its text is
// secret.
func (c Config) keys() (map[string]secret.String, error) {
	if strings.TrimSpace(c.APIKeys.Reveal()) == "" {
		return nil, errors.New("DINERO_API_KEYS: " + clients.NotSet)
	}
	keys := map[string]secret.String{}
	var problems []error
	for i, entry := range strings.Split(c.APIKeys.Reveal(), ",") {
		organization, key, problem := parseKey(entry)
		if _, duplicate := keys[organization]; duplicate && problem == "" {
			problem = "names an organization for the second time"
		}
		if problem != "" {
			problems = append(problems, fmt.Errorf("DINERO_API_KEYS: entry %d %s", i+1, problem))
			continue
		}
		keys[organization] = secret.New(key)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return keys, nil
}

// parseKey parses organizationId=key. The key may contain "=".
func parseKey(entry string) (organization, key, problem string) {
	organization, key, found := strings.Cut(strings.TrimSpace(entry), "=")
	switch {
	case !found || key == "":
		return "", "", "must be written organizationId=key"
	case !validOrganization(organization):
		return "", "", "must begin with an organization id, which is digits"
	case strings.Contains(key, " ") || clients.HasControl(key):
		return "", "", "has a space or a control character in its key"
	}
	return organization, key, ""
}

// validOrganization reports whether id has the form of an organization's id.
func validOrganization(id string) bool {
	return id != "" && len(id) <= 20 && strings.Trim(id, "0123456789") == ""
}
