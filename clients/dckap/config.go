// Package dckap calls the dynamic pipes of DCKAP Integrator (formerly Cloras).
//
// Every pipe has a listener of its own, and what it answers is up to the person
// who drew it. The platform tells two failures apart by status, a disabled pipe
// (400) and a refused credential (401); every other error of a pipe comes back
// with status 200. So a pipe needs a rule that says what success is: see Pipe.
//
// The vendor's pages: "API Access Keys",
// https://docs.dckapintegrator.com/user-guide/api-access-keys and
// https://docs.dckapintegrator.com/project-manager/integrations
package dckap

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
const Vendor = "dckap"

// DefaultURL is the base of the listener URLs in the vendor's cloud.
const DefaultURL = "https://lightning.dckap.com/v1/dynamic/listener/"

// Auth is how the credential travels.
type Auth string

// The ways, each of which puts the credential in one place and nowhere else.
const (
	Bearer   Auth = "bearer"    // Authorization: Bearer <token>
	Header   Auth = "header"    // access_token: <token>
	Query    Auth = "query"     // ?access_token=<token>
	JWTQuery Auth = "jwt-query" // ?token=<token>
	Basic    Auth = "basic"     // Authorization: Basic <user:password>
)

var auths = []Auth{Bearer, Header, Query, JWTQuery, Basic}

// Config is one account. The settings' names have the prefix DCKAP_.
type Config struct {
	// URL is the base of the listener URLs. Unset: the vendor's cloud.
	URL string `env:"URL" envDefault:"https://lightning.dckap.com/v1/dynamic/listener/" doc:"Base of the listener URLs."`
	// Auth is how the credential travels. Unset: bearer.
	Auth Auth `env:"AUTH" envDefault:"bearer" doc:"How the credential travels: bearer, header (access_token: ...), query (?access_token=), jwt-query (?token=) or basic. The two queries put it into the URL, which servers log."`
	// Token is an access token or a JWT, as the platform's API Keys page shows it.
	// Needed, but for basic.
	Token secret.String `env:"TOKEN" doc:"Access token or JWT, for every DCKAP_AUTH but basic."`
	// TokenExpiresOn is the last day on which the token works: nothing else tells.
	// Unset: it never expires, or nobody is warned.
	TokenExpiresOn string `env:"TOKEN_EXPIRES_ON" doc:"Last day of the token, YYYY-MM-DD; warned about 30, 14, 7 and 1 days before. Unset: no warning."`
	// Username and Password are the platform login. Needed for basic.
	Username string        `env:"USERNAME" doc:"User of the platform, for DCKAP_AUTH=basic."`
	Password secret.String `env:"PASSWORD" doc:"Password of that user."`
	// PipesFile says for each listener what success is. Unset: a call that the
	// pipe does not report as failed is done, unverified.
	PipesFile string `env:"PIPES_FILE" doc:"YAML file: for each listener its success rule, and whether it is idempotent. Unset: no answer can be verified."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate is how many calls the fleet makes of the account in a span of time, Concurrency
	// how many at once. Unset: as many as there are.
	Rate        settings.Rate  `env:"RATE" doc:"Most calls of the account in a span of time, by all workers together, as N/duration (docs/limits.md). Unset: no limit."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of the account at once, by all workers together. Unset: no limit."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: plain http on hosts
	// other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether anything of the account is set. A worker that has
// nothing leaves the tasks to another; half an account is an error.
func (c Config) Configured() bool {
	return !c.Token.Empty() || c.Username != "" || !c.Password.Empty()
}

// Timeouts bounds the calls of this account.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Profile is the account's credential as the fleet shares it.
func (c Config) Profile() tokens.Profile {
	p := tokens.Profile{
		Name:    Vendor,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: tokens.Identity{
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

// PipeProfile is one pipe as the fleet shares it: while it is disabled, its
// tasks rest, and those of other pipes run. listener is what ID gives.
func (c Config) PipeProfile(listener string) tokens.Profile {
	return tokens.Profile{
		Name:    Vendor + "-pipe-" + listener,
		Timeout: c.Timeouts().WithDefaults().Call,
		Identity: tokens.Identity{
			Grant: "pipe",
			URL:   c.url(),
			Extra: []string{listener},
		},
	}
}

// Listeners are those that PIPES_FILE names.
func (c Config) Listeners() ([]string, error) {
	checked, err := c.check()
	if err != nil {
		return nil, err
	}
	var ids []string
	for id := range checked.pipes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Validate names every variable at fault, joined into one error.
func (c Config) Validate() error {
	_, err := c.check()
	return err
}

func (c Config) auth() Auth {
	if c.Auth == "" {
		return Bearer
	}
	return c.Auth
}

func (c Config) url() string {
	if c.URL == "" {
		return DefaultURL
	}
	return c.URL
}

func (c Config) expiresOn() (time.Time, error) {
	if c.TokenExpiresOn == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.DateOnly, c.TokenExpiresOn)
}

// checked is what of a good Config is worth reading once.
type checked struct {
	base  clients.BaseURL
	pipes map[string]Pipe
}

func (c Config) check() (checked, error) {
	var out checked
	var faults []error
	fault := func(text string, args ...any) {
		faults = append(faults, fmt.Errorf("DCKAP_"+text, args...))
	}
	base, err := clients.ParseBaseURL("DCKAP_URL", c.url(), c.AllowInsecureHTTP)
	if err != nil {
		faults = append(faults, err)
	}
	out.base = base
	switch {
	case !slices.Contains(auths, c.auth()):
		fault("AUTH: must be bearer, header, query, jwt-query or basic")
	case c.auth() == Basic:
		c.checkLogin(fault)
	default:
		c.checkToken(fault)
	}
	if _, err := c.expiresOn(); err != nil {
		fault("TOKEN_EXPIRES_ON: must be a day written YYYY-MM-DD")
	}
	if c.Timeout < 0 {
		fault("TIMEOUT: must not be negative")
	}
	if c.PipesFile != "" && base.Host() != "" {
		if out.pipes, err = readPipes(c.PipesFile, base); err != nil {
			fault("PIPES_FILE: %w", err)
		}
	}
	return out, errors.Join(faults...)
}

func (c Config) checkLogin(fault func(string, ...any)) {
	switch {
	case c.Username == "":
		fault("USERNAME: is not set, and DCKAP_AUTH is basic")
	case strings.ContainsFunc(c.Username, func(r rune) bool { return r == ':' || isControl(r) }):
		fault(
			"USERNAME: must not contain ':' or control characters",
		) // HTTP Basic ends the user part at the first colon
	}
	switch password := c.Password.Reveal(); {
	case password == "":
		fault("PASSWORD: is not set, and DCKAP_AUTH is basic")
	case strings.ContainsFunc(password, isControl):
		fault("PASSWORD: must not contain control characters, such as the end of a line")
	}
}

func (c Config) checkToken(fault func(string, ...any)) {
	switch token := c.Token.Reveal(); {
	case token == "" && c.Username != "":
		fault("TOKEN: is not set; to log in with user and password, set DCKAP_AUTH=basic")
	case token == "":
		fault("TOKEN: is not set")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		fault(
			"TOKEN: must be the token alone, without spaces, control characters or the word Bearer",
		)
	}
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f
}
