// Package dckap calls the dynamic pipes of DCKAP Integrator (formerly Cloras).
//
// Every pipe has its own listener URL, and the person who built the pipe decides
// what it answers. The platform reports only two failures by status: a disabled
// pipe (400) and a refused credential (401). Every other error of a pipe arrives
// with status 200, so a pipe needs a rule that defines success: see Pipe.
//
// The vendor's pages: "API Access Keys",
// https://docs.dckapintegrator.com/user-guide/api-access-keys and
// https://docs.dckapintegrator.com/project-manager/integrations
package dckap

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// Vendor is the vendor's name in errors, metrics and variables.
const Vendor = "dckap"

// DefaultURL is the base of the listener URLs in the vendor's cloud.
const DefaultURL = "https://lightning.dckap.com/v1/dynamic/listener/"

// Config holds the settings of one account. Their names have the prefix DCKAP_.
type Config struct {
	// URL is the base of the listener URLs. Unset: the vendor's cloud.
	URL string `env:"URL" envDefault:"https://lightning.dckap.com/v1/dynamic/listener/" doc:"Base of the listener URLs."`
	// Auth is how the credential is sent. Unset: bearer.
	Auth Auth `env:"AUTH" envDefault:"bearer" doc:"How the credential is sent: bearer, header (access_token: ...), query (?access_token=), jwt-query (?token=) or basic. The two query forms put it in the URL, which servers log."`
	// Token is an access token or a JWT, as the platform's API Keys page shows it.
	// Required unless Auth is basic.
	Token secret.String `env:"TOKEN" doc:"Access token or JWT, for every DCKAP_AUTH but basic."`
	// TokenExpiresOn is the last day on which the token works. No API reports it.
	// Unset: nobody is warned.
	TokenExpiresOn string `env:"TOKEN_EXPIRES_ON" doc:"Last day of the token, YYYY-MM-DD; warned about 30, 14, 7 and 1 days before. Unset: no warning."`
	// Username and Password are the platform login. Required if Auth is basic.
	Username string        `env:"USERNAME" doc:"User of the platform, for DCKAP_AUTH=basic."`
	Password secret.String `env:"PASSWORD" doc:"Password of that user."`
	// PipesFile defines success for each listener. Unset: a call whose answer
	// reports no failure is done, but unverified.
	PipesFile string `env:"PIPES_FILE" doc:"YAML file: for each listener its success rule, and whether it is idempotent. Unset: no answer can be verified."`
	// Timeout bounds one call, including its body. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate limits the calls that all workers together make per window, and
	// Concurrency their calls in flight. Unset: unlimited.
	Rate        settings.Rate  `env:"RATE" doc:"Most calls of the account in a span of time, by all workers together, as N/duration (docs/admission.md). Unset: no limit."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of the account at once, by all workers together. Unset: no limit."`
	// Breaker says when the calls of the account stop for a while. Unset: 70%/30s.
	Breaker settings.Share `env:"BREAKER" envDefault:"70%/30s" doc:"Leaves the vendor in peace when this share of the calls of the account fails within this time (at least 10 calls), as N%/duration (docs/admission.md); off for never."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: it permits plain http
	// on hosts other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether any credential of the account is set. A worker
// without one leaves the tasks to other workers; an incomplete account is an
// error of Validate.
func (c Config) Configured() bool {
	return !c.Token.Empty() || c.Username != "" || !c.Password.Empty()
}

// Timeouts returns the timeouts for the Caller of this account.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Profile identifies the account's credential to all workers.
func (c Config) Profile() admission.Profile {
	p := admission.Profile{
		Name:    Vendor,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: admission.Identity{
			Grant:   string(c.auth()),
			URL:     c.url(),
			Secrets: []secret.String{c.Token},
		},
	}
	if c.auth() == Basic {
		p.Identity.Username = c.Username
		p.Identity.Secrets = []secret.String{c.Password}
		return p
	}
	p.ExpiresOn, _ = c.expiresOn()
	return p
}

// PipeProfile identifies one pipe to all workers. While the pipe is disabled its
// tasks are parked; those of other pipes run. listener is the listener's id.
func (c Config) PipeProfile(listener string) admission.Profile {
	return admission.Profile{
		Name:    Vendor + "-pipe-" + listener,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: admission.Identity{
			Grant: "pipe",
			URL:   c.url(),
			Extra: []string{listener},
		},
		Refusal: "pipe " + listener + " was refused",
	}
}

// Listeners returns the ids of the listeners in PIPES_FILE, sorted.
func (c Config) Listeners() ([]string, error) {
	validated, err := c.validate()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(validated.pipes)), nil
}

// Validate names every invalid variable, joined into one error.
func (c Config) Validate() error {
	_, err := c.validate()
	return err
}

func (c Config) auth() Auth {
	return cmp.Or(c.Auth, Bearer)
}

func (c Config) url() string {
	return cmp.Or(c.URL, DefaultURL)
}

func (c Config) expiresOn() (time.Time, error) {
	if c.TokenExpiresOn == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, c.TokenExpiresOn)
}

// validatedConfig holds the parsed values of a valid Config.
type validatedConfig struct {
	base  clients.BaseURL
	pipes map[string]Pipe // by listener id
}

func (c Config) validate() (validatedConfig, error) {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("DCKAP_"+format, args...))
	}
	var out validatedConfig
	base, err := clients.ParseBaseURL("DCKAP_URL", c.url(), c.AllowInsecureHTTP)
	if err != nil {
		problems = append(problems, err)
	}
	out.base = base
	c.validateCredential(report)
	if _, err := c.expiresOn(); err != nil {
		report("TOKEN_EXPIRES_ON: must be a day written YYYY-MM-DD")
	}
	if c.Timeout < 0 {
		report("TIMEOUT: must not be negative")
	}
	if c.PipesFile != "" && base.Host() != "" {
		if out.pipes, err = readPipes(c.PipesFile, base); err != nil {
			report("PIPES_FILE: %w", err)
		}
	}
	return out, errors.Join(problems...)
}
