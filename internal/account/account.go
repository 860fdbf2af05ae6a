// Package account opens the accounts at the vendors. A vendor's package in
// tasks/ builds its client from the parts that an Account hands out; the Account
// remembers them, so that worker and doctor can ask for the credentials, the
// limits and what else tasks may have to wait for.
//
//	tasks/<vendor> ─ Settings ─▶ Account ─▶ Caller, Source, Gate, Limiter, …
//	                                │
//	     worker, doctor ◀─ Credentials, Blockers, Limiters, Expiring
//
// Nothing here knows a vendor, and nothing assumes that a vendor has one account
// only: what tells two of them apart is their credentials' Identity.
package account

import (
	"context"
	"net/http"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/internal/events"
	"errand.internal/internal/limits"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
)

// Shared is what all accounts of a process have in common.
type Shared struct {
	Redis redis.UniversalClient
	// Ring seals tokens.
	Ring *seal.Ring
	// Salt keys the digests in Redis keys.
	Salt *seal.Salt
	// Observe is told of every call; nil for nobody.
	Observe func(clients.Observation)
	// Publish hands an event over for delivery; nil without a receiver.
	Publish events.Publish
	// TokenOptions and LimitOptions apply to every credential and limiter.
	TokenOptions []tokens.Option
	LimitOptions []limits.Option
}

// Account is one account that is being opened, or is open.
type Account struct {
	// Credentials are the credentials of the account, as the fleet shares them.
	Credentials []Credential
	// Blockers are what tasks are parked for beside credentials, such as a pipe
	// that is disabled or an organization without a subscription.
	Blockers []Credential
	// Expiring are the credentials whose last day the settings name, because no
	// API tells it.
	Expiring []tokens.Profile
	// Limiters are those of the credentials that have limits.
	Limiters []*limits.Limiter

	shared Shared
	dryRun http.RoundTripper
	closed []func()
}

// Credential is a credential, or another blocker, under the name that metrics
// and the command line show.
type Credential struct {
	Name string
	CredentialState
}

// Usable reports whether calls may be made with the credential now. It is false
// while the fleet waits after a refusal, and if Redis does not answer.
func (c Credential) Usable(ctx context.Context) bool {
	s, err := c.State(ctx)
	return err == nil && s.CoolingFor == 0
}

// CredentialState tells how the fleet sees a credential.
type CredentialState interface {
	State(ctx context.Context) (tokens.State, error)
	ClearCoolDown(ctx context.Context) error
	Close()
}

// New returns an account without parts.
func New(s Shared) *Account {
	if s.Salt == nil {
		s.Salt = seal.NewSalt(s.Redis)
	}
	return &Account{shared: s}
}

// DryRun returns an account whose requests all go to transport, with
// Placeholder for a token. It needs no Redis, and has neither credentials nor
// limits.
func DryRun(transport http.RoundTripper) *Account {
	return &Account{dryRun: transport}
}

// Placeholder is every secret of a dry run.
var Placeholder = secret.New(secret.Redacted)

// Caller returns what makes the account's calls; the first path element of its
// errors and metrics is vendor.
func (a *Account) Caller(vendor string, bounds clients.Timeouts) *clients.Caller {
	return clients.NewCaller(vendor, bounds, a.dryRun, a.shared.Observe)
}

// Source returns the tokens of a credential that logs in; p.Fetch must be set.
func (a *Account) Source(p tokens.Profile) tokens.Source {
	if a.dryRun != nil {
		return tokens.Fixed(Placeholder.Reveal())
	}
	source := tokens.NewSource(a.shared.Redis, a.shared.Ring, p, a.shared.TokenOptions...)
	a.addCredential(p, source)
	return source
}

// Gate returns the gate of a static credential, such as HTTP Basic.
func (a *Account) Gate(p tokens.Profile) tokens.Gate {
	if a.dryRun != nil {
		return tokens.OpenGate()
	}
	gate := tokens.NewGate(a.shared.Redis, p, a.shared.TokenOptions...)
	a.addCredential(p, gate)
	return gate
}

func (a *Account) addCredential(p tokens.Profile, state CredentialState) {
	a.Credentials = append(a.Credentials, Credential{p.Name, state})
	if !p.ExpiresOn.IsZero() {
		a.Expiring = append(a.Expiring, p)
	}
	a.closed = append(a.closed, state.Close)
}

// Limiter returns what keeps the credential's calls within the account's rate
// and concurrency; nil if it has neither. Credentials of one account share it.
func (a *Account) Limiter(p tokens.Profile, l limits.Account) clients.Limiter {
	if a.dryRun != nil || !l.Limited() {
		return nil
	}
	l.Name = p.Name
	l.Identity = identity(p)
	l.Call = p.Timeout
	limiter := limits.New(a.shared.Redis, a.shared.Salt, l, a.shared.LimitOptions...)
	a.Limiters = append(a.Limiters, limiter)
	return limiter
}

// identity is what names an account at its vendor. A new password does not make
// another account of it, with a quota of its own; but where a token is all there
// is, the token is the account.
func identity(p tokens.Profile) []string {
	id := p.Identity
	parts := []string{id.URL, id.ClientID, id.Username}
	if id.ClientID == "" && id.Username == "" {
		for _, s := range id.Secrets {
			parts = append(parts, s.Reveal())
		}
	}
	return parts
}

// Guard returns a guard that counts what is sent to one recipient; nil if rate
// is unlimited. name appears in Redis keys.
func (a *Account) Guard(name string, rate settings.Rate) *limits.Guard {
	if a.dryRun != nil || rate.IsZero() {
		return nil
	}
	return limits.NewGuard(a.shared.Redis, a.shared.Salt, name, rate, a.shared.LimitOptions...)
}

// Detector returns what notices changed values and publishes them as events; nil
// if nobody receives events.
func (a *Account) Detector(c events.DetectorConfig) *events.Detector {
	if a.dryRun != nil || a.shared.Publish == nil {
		return nil
	}
	return events.NewDetector(c, a.shared.Redis, a.shared.Salt, a.shared.Publish)
}

// Close ends what the account does in the background.
func (a *Account) Close() {
	for _, closePart := range a.closed {
		closePart()
	}
}
