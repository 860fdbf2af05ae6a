package anna

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/admission"

	_ "time/tzdata" // for TIME_ZONE in images without zone files

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// Vendor is the vendor's name in errors and metrics. The Caller must have it too.
const Vendor = "anna"

// defaultZone is the vendor's own zone.
const defaultZone = "America/Sao_Paulo"

// Config is one account. Its variables have the prefix ANNA_.
type Config struct {
	// URL is the customer's own base address, with or without a slash at its end.
	// Required.
	URL string `env:"URL" doc:"The customer's own base address."`
	// CompanyHash names the company in every request. Required.
	CompanyHash secret.String `env:"COMPANY_HASH" doc:"Names the company in every request."`
	// User and Password are the login for GetToken. Required.
	User     string        `env:"USER" doc:"Login for GetToken."`
	Password secret.String `env:"PASSWORD" doc:"Password of that login."`
	// TimeZone is an IANA name. The vendor's times have no zone: each is read as
	// UTC and in this zone, and the earlier reading counts. The dates today and
	// today-7d of a filter are resolved in this zone. Unset: America/Sao_Paulo.
	TimeZone string `env:"TIME_ZONE" envDefault:"America/Sao_Paulo" doc:"Zone of the vendor's times, and of dates such as today-7d."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate limits the account's calls per window across the fleet. Unset: no limit.
	Rate settings.Rate `env:"RATE" doc:"Most calls of the account in a span of time, by all workers together, as N/duration (docs/admission.md). Unset: no limit."`
	// Concurrency limits the account's calls at once across the fleet. Unset: no
	// limit.
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of the account at once, by all workers together. Unset: no limit."`
	// Breaker says when the calls of the account stop for a while. Unset: 70%/30s.
	Breaker settings.Share `env:"BREAKER" envDefault:"70%/30s" doc:"Leaves the vendor in peace when this share of the calls of the account fails within this time (at least 10 calls), as N%/duration (docs/admission.md); off for never."`
	// AlreadyInactive lists texts, separated by |, that tell from the answer to
	// Inactivate that the user is already inactive: a success:false with one of
	// them counts as done. A text matches anywhere in the vendor's message and
	// ignores case. Unset: an unconfirmed inactivation is always retried.
	AlreadyInactive []string `env:"ALREADY_INACTIVE" envSeparator:"|" doc:"Texts, separated by |, that in an unconfirmed inactivation mean that the user is already inactive. Unset: it is retried until confirmed."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP, which allows plain
	// http on hosts other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether any part of the account is set. Without an account
// a worker leaves AnnA's tasks to other workers; a partial account is an error.
func (c Config) Configured() bool {
	return c.URL != "" || !c.CompanyHash.Empty() || c.User != "" || !c.Password.Empty()
}

// Profile returns the account's credential profile, which the fleet shares. Its
// Fetch is a Login's.
func (c Config) Profile() tokens.Profile {
	return tokens.Profile{
		Profile: admission.Profile{
			Name:    Vendor,
			Timeout: c.Timeouts().WithDefaults().Call,
			Identity: admission.Identity{
				Grant:    "GetToken",
				URL:      c.URL,
				Username: c.User,
				Secrets:  []secret.String{c.CompanyHash, c.Password},
			},
		},
		DefaultLife: defaultTokenLife,
	}
}

// Timeouts returns the timeouts of the account's Caller.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Validate reports all problems at once, each with the name of its variable.
func (c Config) Validate() error {
	_, err := c.validate()
	return err
}

// validated holds the values parsed from a valid Config.
type validated struct {
	base            clients.BaseURL
	zone            *time.Location
	alreadyInactive []string // lower case
}

func (c Config) validate() (validated, error) {
	var out validated
	var problems []error
	addProblem := func(variable, problem string) {
		problems = append(problems, fmt.Errorf("ANNA_%s: %s", variable, problem))
	}
	base, err := clients.ParseBaseURL("ANNA_URL", c.URL, c.AllowInsecureHTTP)
	if err != nil {
		problems = append(problems, err)
	}
	out.base = base
	for _, credential := range []struct {
		variable string
		value    secret.String
	}{
		{"COMPANY_HASH", c.CompanyHash},
		{"USER", secret.New(c.User)},
		{"PASSWORD", c.Password},
	} {
		if problem := clients.SecretProblem(credential.value); problem != "" {
			addProblem(credential.variable, problem)
		}
	}
	zoneName := c.TimeZone
	if zoneName == "" {
		zoneName = defaultZone
	}
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		addProblem("TIME_ZONE", "is not the name of a time zone, such as "+defaultZone)
	}
	out.zone = zone
	if c.Timeout < 0 {
		addProblem("TIMEOUT", "is negative")
	}
	for _, text := range c.AlreadyInactive {
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "" {
			// It would match every message, so that every refusal would count as done.
			addProblem("ALREADY_INACTIVE", "has an empty text between its | signs")
			continue
		}
		out.alreadyInactive = append(out.alreadyInactive, text)
	}
	return out, errors.Join(problems...)
}
