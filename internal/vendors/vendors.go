// Package vendors makes the vendors' clients from the settings: the one place
// that knows every account. A new vendor is a field of Config and a few lines
// in Open.
package vendors

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/danaconnect"
	"errand.internal/internal/queue"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
	"errand.internal/tasks"
)

// Config is the account of each vendor.
type Config struct {
	DANAConnect danaconnect.OTPConfig `envPrefix:"DANACONNECT_"`
	AnnA        anna.Config           `envPrefix:"ANNA_"`
}

// AllowInsecureHTTP permits plain http on hosts other than loopback.
func (c Config) AllowInsecureHTTP(allow bool) Config {
	c.DANAConnect.AllowInsecureHTTP, c.AnnA.AllowInsecureHTTP = allow, allow
	return c
}

// Validate names every variable at fault of the accounts that are configured.
// An account of which nothing is set is no fault.
func (c Config) Validate() error {
	var faults []error
	if c.DANAConnect.Configured() {
		faults = append(faults, c.DANAConnect.Validate())
	}
	if c.AnnA.Configured() {
		faults = append(faults, c.AnnA.Validate())
	}
	return errors.Join(faults...)
}

// Timeouts are the bounds of one call, by vendor.
func (c Config) Timeouts() map[string]time.Duration {
	return map[string]time.Duration{
		danaconnect.Vendor: c.DANAConnect.Limits().WithDefaults().Call,
		anna.Vendor:        c.AnnA.Limits().WithDefaults().Call,
	}
}

// Configured lists the vendors that have an account.
func (c Config) Configured() []string {
	var names []string
	if c.DANAConnect.Configured() {
		names = append(names, danaconnect.Vendor)
	}
	if c.AnnA.Configured() {
		names = append(names, anna.Vendor)
	}
	return names
}

// Shared is what all accounts of a worker have in common.
type Shared struct {
	Redis   redis.UniversalClient
	Ring    *seal.Ring
	Observe func(clients.Observation)
	Options []tokens.Option
}

// Credential is one credential as the fleet shares it.
type Credential struct {
	// Name is its profile's.
	Name string
	Standing
}

// Standing tells how a credential stands in the fleet.
type Standing interface {
	State(ctx context.Context) (tokens.State, error)
	ClearCoolDown(ctx context.Context) error
	Close()
}

// Accounts are the clients of the configured accounts, and their credentials.
type Accounts struct {
	tasks.Vendors
	Credentials []Credential
}

// Parkable is the credentials as the queue needs them: to know when tasks that
// were parked for one may run again.
func (a *Accounts) Parkable() []queue.Credential {
	var list []queue.Credential
	for _, c := range a.Credentials {
		list = append(list, queue.Credential{Name: c.Name, Usable: func(ctx context.Context) bool {
			state, err := c.State(ctx)
			return err == nil && state.CoolingFor == 0
		}})
	}
	return list
}

// Close ends what the credentials do in the background.
func (a *Accounts) Close() {
	for _, c := range a.Credentials {
		c.Close()
	}
}

// Open makes the clients of the configured accounts.
func (c Config) Open(s Shared) (*Accounts, error) {
	v := &Accounts{}
	var faults []error
	if cfg := c.DANAConnect; cfg.Configured() {
		gate := tokens.NewGate(s.Redis, cfg.Profile(), s.Options...)
		otp, err := danaconnect.NewOTP(cfg, gate, clients.NewCaller(danaconnect.Vendor, cfg.Limits(), nil, s.Observe))
		v.DANAConnectOTP, v.Credentials, faults = otp, append(v.Credentials, Credential{cfg.Profile().Name, gate}), append(faults, err)
	}
	if cfg := c.AnnA; cfg.Configured() {
		caller := clients.NewCaller(anna.Vendor, cfg.Limits(), nil, s.Observe)
		login, err := anna.NewLogin(cfg, caller)
		if err == nil {
			profile := cfg.Profile()
			profile.Fetch = login.Fetch
			source := tokens.NewSource(s.Redis, s.Ring, profile, s.Options...)
			v.Credentials = append(v.Credentials, Credential{profile.Name, source})
			v.AnnA, err = anna.New(cfg, source, caller)
		}
		faults = append(faults, err)
	}
	return v, errors.Join(faults...)
}

// DryRun makes clients whose requests go to transport alone. What is not
// configured, and every secret, is a placeholder.
func (c Config) DryRun(transport http.RoundTripper) (tasks.Vendors, error) {
	c = c.AllowInsecureHTTP(true)
	c.DANAConnect.Username, c.DANAConnect.Company, c.DANAConnect.Password = "user", "company", placeholder
	c.AnnA.CompanyHash, c.AnnA.User, c.AnnA.Password = placeholder, "user", placeholder
	if c.AnnA.URL == "" {
		c.AnnA.URL = "https://anna-url.invalid/"
	}
	var v tasks.Vendors
	var errOTP, errAnnA error
	v.DANAConnectOTP, errOTP = danaconnect.NewOTP(c.DANAConnect, tokens.OpenGate(), clients.NewCaller(danaconnect.Vendor, clients.Limits{}, transport, nil))
	v.AnnA, errAnnA = anna.New(c.AnnA, tokens.Fixed(placeholder.Reveal()), clients.NewCaller(anna.Vendor, clients.Limits{}, transport, nil))
	return v, errors.Join(errOTP, errAnnA)
}

var placeholder = secret.New(secret.Redacted)
