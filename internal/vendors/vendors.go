// Package vendors makes the vendors' clients from the settings: the one place
// that knows every account. A new vendor is a field of Config, an entry of Sites,
// and its part of Open and of DryRun.
package vendors

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dinero"
	"errand.internal/internal/limits"
	"errand.internal/internal/queue"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
	"errand.internal/tasks"
)

// Config is the account of each vendor.
type Config struct {
	DANAConnect danaconnect.OTPConfig `envPrefix:"DANACONNECT_"`
	// DANAConnectAPI is the vendor's second account, of API 2.0.
	DANAConnectAPI danaconnect.APIConfig `envPrefix:"DANACONNECT_"`
	AnnA           anna.Config           `envPrefix:"ANNA_"`
	DCKAP          dckap.Config          `envPrefix:"DCKAP_"`
	Dinero         dinero.Config         `envPrefix:"DINERO_"`
}

// Shared is what all accounts of a worker have in common.
type Shared struct {
	Redis redis.UniversalClient
	Ring  *seal.Ring
	// Salt keys what limits write; one of its own if unset.
	Salt    *seal.Salt
	Observe func(clients.Observation)
	Options []tokens.Option
	Limits  []limits.Option
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
	// Expiring are the credentials that end on a day which no API tells, if it was
	// written into the settings.
	Expiring []tokens.Profile
	// Rests are what tasks are parked for beside credentials: pipes that may be
	// disabled, organizations that may lack a subscription.
	Rests []Credential
	// Limits are those of the accounts that have any.
	Limits []*limits.Limiter
	gates  []*gates
}

// Parkable is the credentials and rests as the queue needs them: to know when
// tasks that were parked for one may run again. A pipe that no settings name is
// not among them; its tasks come back by themselves.
func (a *Accounts) Parkable() []queue.Credential {
	var list []queue.Credential
	for _, c := range slices.Concat(a.Credentials, a.Rests) {
		list = append(
			list,
			queue.Credential{Name: c.Name, Usable: func(ctx context.Context) bool {
				state, err := c.State(ctx)
				return err == nil && state.CoolingFor == 0
			}},
		)
	}
	return list
}

// Close ends what the credentials do in the background.
func (a *Accounts) Close() {
	for _, c := range a.Credentials {
		c.Close()
	}
	for _, g := range a.gates {
		g.close()
	}
}

// Open makes the clients of the configured accounts.
func (c Config) Open(s Shared) (*Accounts, error) {
	if s.Salt == nil {
		s.Salt = seal.NewSalt(s.Redis)
	}
	v := &Accounts{}
	var faults []error
	if cfg := c.DANAConnect; cfg.Configured() {
		gate := tokens.NewGate(s.Redis, cfg.Profile(), s.Options...)
		limit := v.limit(
			s,
			cfg.Profile(),
			limits.Account{Rate: cfg.Rate, AtOnce: cfg.Concurrency},
		)
		otp, err := danaconnect.NewOTP(
			cfg,
			gate,
			clients.NewCaller(danaconnect.Vendor, cfg.Timeouts(), nil, s.Observe).
				Limited(limit),
		)
		v.DANAConnectOTP = otp
		v.Credentials = append(v.Credentials, Credential{cfg.Profile().Name, gate})
		faults = append(faults, err)
		// The same login, and so the same gate and limits; another host, and so another
		// caller.
		contacts, err := danaconnect.NewContacts(
			cfg,
			gate,
			clients.NewCaller(danaconnect.Vendor, cfg.Timeouts(), nil, s.Observe).
				Limited(limit),
		)
		v.DANAConnectContacts = contacts
		faults = append(faults, err)
	}
	if cfg := c.DANAConnectAPI; cfg.Configured() {
		caller := clients.NewCaller(danaconnect.Vendor, cfg.Timeouts(), nil, s.Observe)
		login, err := danaconnect.NewAPILogin(cfg, caller)
		if err == nil {
			profile := cfg.Profile()
			profile.Fetch = login.Fetch
			source := tokens.NewSource(s.Redis, s.Ring, profile, s.Options...)
			v.Credentials = append(v.Credentials, Credential{profile.Name, source})
			limit := v.limit(
				s,
				profile,
				limits.Account{Rate: cfg.Rate, AtOnce: cfg.Concurrency},
			)
			v.DANAConnectAPI, err = danaconnect.NewAPI(cfg, source, caller.Limited(limit))
		}
		faults = append(faults, err)
	}
	if cfg := c.AnnA; cfg.Configured() {
		caller := clients.NewCaller(anna.Vendor, cfg.Timeouts(), nil, s.Observe)
		login, err := anna.NewLogin(cfg, caller)
		if err == nil {
			profile := cfg.Profile()
			profile.Fetch = login.Fetch
			source := tokens.NewSource(s.Redis, s.Ring, profile, s.Options...)
			v.Credentials = append(v.Credentials, Credential{profile.Name, source})
			limit := v.limit(
				s,
				profile,
				limits.Account{Rate: cfg.Rate, AtOnce: cfg.Concurrency},
			)
			v.AnnA, err = anna.New(cfg, source, caller.Limited(limit))
		}
		faults = append(faults, err)
	}
	if c.DCKAP.Configured() {
		faults = append(faults, v.openDCKAP(c.DCKAP, s))
	}
	if c.Dinero.Configured() {
		faults = append(faults, v.openDinero(c.Dinero, s))
	}
	return v, errors.Join(faults...)
}

func (a *Accounts) openDCKAP(cfg dckap.Config, s Shared) error {
	listeners, err := cfg.Listeners()
	if err != nil {
		return err
	}
	gate := tokens.NewGate(s.Redis, cfg.Profile(), s.Options...)
	a.Credentials = append(
		a.Credentials,
		Credential{cfg.Profile().Name, gate},
	)
	a.Expiring = append(
		a.Expiring,
		cfg.Profile(),
	)
	pipes := a.addGates(s, cfg.PipeProfile, listeners)
	limit := a.limit(
		s,
		cfg.Profile(),
		limits.Account{Rate: cfg.Rate, AtOnce: cfg.Concurrency},
	)
	a.DCKAP, err = dckap.New(
		cfg,
		gate,
		pipes.of,
		clients.NewCaller(dckap.Vendor, cfg.Timeouts(), nil, s.Observe).Limited(limit),
	)
	return err
}

func (a *Accounts) openDinero(cfg dinero.Config, s Shared) error {
	caller := clients.NewCaller(dinero.Vendor, cfg.Timeouts(), nil, s.Observe)
	organizations := a.addGates(s, cfg.OrganizationProfile, cfg.Organizations())
	accounts := map[string]dinero.Account{}
	for _, organization := range cfg.Organizations() {
		login, err := dinero.NewLogin(cfg, organization, caller)
		if err != nil {
			return err
		}
		profile := cfg.Profile(organization)
		profile.Fetch = login.Fetch
		source := tokens.NewSource(s.Redis, s.Ring, profile, s.Options...)
		a.Credentials = append(a.Credentials, Credential{profile.Name, source})
		accounts[organization] = dinero.Account{
			Source: source,
			Breaker:   organizations.of(organization),
			Limiter: a.limit(s, profile, limits.Account{
				Rate:   cfg.Rate,
				AtOnce: cfg.Concurrency,
				Rest:   dinero.QuotaRetryAfter,
			}),
		}
	}
	client, err := dinero.New(cfg, func(organization string) (dinero.Account, bool) {
		account, known := accounts[organization]
		return account, known
	}, caller)
	a.Dinero = client
	return err
}

// addGates makes a set of gates; those of the known names are rests.
func (a *Accounts) addGates(
	s Shared,
	profile func(string) tokens.Profile,
	known []string,
) *gates {
	set := newGates(s, profile)
	a.gates = append(a.gates, set)
	for _, name := range known {
		if c, ok := set.credential(name); ok {
			a.Rests = append(a.Rests, c)
		}
	}
	return set
}

// DryRun makes clients whose requests go to transport alone. What is not
// configured, and every secret, is a placeholder.
func (c Config) DryRun(transport http.RoundTripper) (tasks.Vendors, error) {
	c = c.AllowInsecureHTTP(true)
	c.DANAConnect.Username = "user"
	c.DANAConnect.Company = "company"
	c.DANAConnect.Password = placeholder
	c.DANAConnectAPI.ClientID = "client"
	c.DANAConnectAPI.ClientSecret = placeholder
	c.AnnA.CompanyHash = placeholder
	c.AnnA.User = "user"
	c.AnnA.Password = placeholder
	if c.AnnA.URL == "" {
		c.AnnA.URL = "https://anna-url.invalid/"
	}
	c.DCKAP.Token = placeholder
	c.DCKAP.Username = "user"
	c.DCKAP.Password = placeholder
	c.DCKAP.TokenExpiresOn = ""
	c.DCKAP.PipesFile = ""
	c.Dinero.ClientID = "client"
	c.Dinero.ClientSecret = placeholder
	c.Dinero.APIKeys = secret.New("1=" + placeholder.Reveal())
	var v tasks.Vendors
	var errOTP, errContacts, errAPI, errAnnA, errDCKAP, errDinero error
	v.DANAConnectOTP, errOTP = danaconnect.NewOTP(
		c.DANAConnect,
		tokens.OpenGate(),
		clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, transport, nil),
	)
	v.DANAConnectContacts, errContacts = danaconnect.NewContacts(
		c.DANAConnect,
		tokens.OpenGate(),
		clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, transport, nil),
	)
	v.DANAConnectAPI, errAPI = danaconnect.NewAPI(
		c.DANAConnectAPI,
		tokens.Fixed(placeholder.Reveal()),
		clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, transport, nil),
	)
	v.AnnA, errAnnA = anna.New(
		c.AnnA,
		tokens.Fixed(placeholder.Reveal()),
		clients.NewCaller(anna.Vendor, clients.Timeouts{}, transport, nil),
	)
	v.DCKAP, errDCKAP = dckap.New(
		c.DCKAP,
		tokens.OpenGate(),
		func(string) tokens.Gate { return tokens.OpenGate() },
		clients.NewCaller(dckap.Vendor, clients.Timeouts{}, transport, nil),
	)
	v.Dinero, errDinero = dinero.New(c.Dinero, func(string) (dinero.Account, bool) {
		return dinero.Account{
			Source: tokens.Fixed(placeholder.Reveal()),
			Breaker:   tokens.OpenGate(),
		}, true
	}, clients.NewCaller(dinero.Vendor, clients.Timeouts{}, transport, nil))
	return v, errors.Join(errOTP, errContacts, errAPI, errAnnA, errDCKAP, errDinero)
}

var placeholder = secret.New(secret.Redacted)
