package anna

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // TIME_ZONE must resolve in an image without zone files

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// Vendor is the vendor's name in errors and metrics: the one to make the Caller
// with.
const Vendor = "anna"

// defaultZone is where the vendor is at home.
const defaultZone = "America/Sao_Paulo"

// Config is one account. The settings' names have the prefix ANNA_.
type Config struct {
	// URL is the customer's own base address; needed. Everything is called
	// below it, whether or not it ends in a slash.
	URL string `env:"URL" doc:"The customer's own base address."`
	// CompanyHash names the company in every request; needed.
	CompanyHash secret.String `env:"COMPANY_HASH" doc:"Names the company in every request."`
	// User and Password are the login for GetToken; needed.
	User     string        `env:"USER" doc:"Login for GetToken."`
	Password secret.String `env:"PASSWORD" doc:"Password of that login."`
	// TimeZone is an IANA name. The vendor's times name no zone: each is read
	// as UTC and as this zone, and the reading that expires first counts. The
	// dates today and today-7d of a filter are this zone's.
	// Unset: America/Sao_Paulo.
	TimeZone string `env:"TIME_ZONE" envDefault:"America/Sao_Paulo" doc:"Zone of the vendor's times, and of dates such as today-7d."`
	// Timeout bounds one call, body included. Unset: 15 s.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"15s" doc:"Bound on one call, body included."`
	// Rate is how many calls the fleet makes of the account in a span of time, Concurrency
	// how many at once. Unset: as many as there are.
	Rate        settings.Rate  `env:"RATE" doc:"Most calls of the account in a span of time, by all workers together, as N/duration (docs/limits.md). Unset: no limit."`
	Concurrency settings.Count `env:"CONCURRENCY" doc:"Most calls of the account at once, by all workers together. Unset: no limit."`
	// AlreadyInactive lists texts, separated by |, that mean in an answer to
	// Inactivate that the user is inactive already, so that a success:false
	// counts as done. A text matches anywhere in the vendor's message, in upper
	// or lower case. Unset: none; an unconfirmed inactivation is tried again.
	AlreadyInactive []string `env:"ALREADY_INACTIVE" envSeparator:"|" doc:"Texts, separated by |, that mean in an unconfirmed inactivation that the user is inactive already. Unset: it is tried again until confirmed."`
	// AllowInsecureHTTP is the worker's ALLOW_INSECURE_HTTP: plain http on hosts
	// other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether anything of the account is set. A worker that has
// nothing leaves AnnA's tasks to another; half an account is an error.
func (c Config) Configured() bool {
	return c.URL != "" || !c.CompanyHash.Empty() || c.User != "" || !c.Password.Empty()
}

// Profile is the account's credential as the fleet shares it; a Login's Fetch
// completes it.
func (c Config) Profile() tokens.Profile {
	return tokens.Profile{
		Name:        Vendor,
		Timeout:     c.Timeouts().WithDefaults().Call,
		DefaultLife: shortLife,
		Identity: tokens.Identity{
			Grant:    "GetToken",
			URL:      c.URL,
			Username: c.User,
			Secrets:  []secret.String{c.CompanyHash, c.Password},
		},
	}
}

// Timeouts bounds the calls of this account.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: c.Timeout}
}

// Validate reports every problem at once, each naming its variable.
func (c Config) Validate() error {
	_, err := c.check()
	return err
}

// checked is what of a good Config is worth reading once.
type checked struct {
	base    clients.BaseURL
	zone    *time.Location
	already []string // lower case
}

func (c Config) check() (checked, error) {
	var out checked
	var problems []error
	complain := func(variable, problem string) {
		problems = append(problems, fmt.Errorf("ANNA_%s: %s", variable, problem))
	}
	base, err := clients.ParseBaseURL("ANNA_URL", c.URL, c.AllowInsecureHTTP)
	if err != nil {
		problems = append(problems, err)
	}
	out.base = base
	for _, needed := range []struct {
		variable string
		missing  bool
	}{
		{"COMPANY_HASH", c.CompanyHash.Empty()},
		{"USER", c.User == ""},
		{"PASSWORD", c.Password.Empty()},
	} {
		if needed.missing {
			complain(needed.variable, "is not set")
		}
	}
	name := c.TimeZone
	if name == "" {
		name = defaultZone
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		complain("TIME_ZONE", "is not the name of a time zone, such as "+defaultZone)
	}
	out.zone = zone
	if c.Timeout < 0 {
		complain("TIMEOUT", "is negative")
	}
	for _, text := range c.AlreadyInactive {
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "" {
			// It would match every message and call every refusal done.
			complain("ALREADY_INACTIVE", "has an empty text between its | signs")
			continue
		}
		out.already = append(out.already, text)
	}
	return out, errors.Join(problems...)
}
