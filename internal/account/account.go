// Package account opens accounts at vendors. A vendor's package in tasks/ builds
// its client from the parts that an Account provides. The Account records those
// parts, so that worker and doctor can list the credentials, the limits and
// everything else that may block tasks.
//
//	tasks/<vendor> ─ Settings ─▶ Account ─▶ Caller, Source, Gate, Limiter, …
//	                                │
//	     worker, doctor ◀─ Credentials, Blockers, Limiters, Expiring
//
// The package knows no vendor, and a vendor may have several accounts: the Identity
// of their credentials distinguishes them.
package account

import (
	"context"
	"net/http"
	"slices"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/events"
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
	// Proxy carries the calls to vendors; nil for none.
	Proxy *clients.Proxy
	// Observe, if not nil, is called after every call of a vendor.
	Observe func(clients.Observation)
	// Operations, if not nil, is told the operations of a vendor's calls when its
	// account is opened.
	Operations func(vendor string, operations ...string)
	// Publish enqueues an event for delivery; nil if no receiver is configured.
	Publish events.Publish
	// TokenMetrics, if not nil, count what becomes of tokens.
	TokenMetrics *tokens.Metrics
	// Admission applies to every breaker, limiter and guard.
	Admission []admission.Option
	// OnChange, if not nil, is told when a credential, or another blocker, is refused and
	// when it works again.
	OnChange func(admission.Change)
}

// Account collects the parts of one account. It is not safe for concurrent use while
// the account is being opened.
type Account struct {
	// Credentials are the account's credentials, whose state the fleet shares.
	Credentials []Credential
	// Blockers are what else may park tasks, such as a disabled pipe or an
	// organization without a subscription.
	Blockers []Credential
	// Expiring are the credentials whose last day is a setting, because no API of the
	// vendor returns it.
	Expiring []admission.Profile
	// Limiters are the limiters of the credentials that have limits.
	Limiters []*admission.Limiter
	// Outages are the breakers of the credentials that leave a vendor in trouble in peace.
	Outages []*admission.Outage
	// Pauses are those by which operators stop the credentials.
	Pauses []*admission.Pause

	shared  Shared
	local   bool              // without Redis
	dryRun  http.RoundTripper // nil except in a dry run
	closers []func()
}

// Credential is a credential or another blocker, with its name in metrics and on
// the command line.
type Credential struct {
	Name string
	// Identity distinguishes it from another credential of the same name, such as one with
	// an older secret.
	Identity admission.Identity
	CredentialState
}

// Usable reports whether calls may use the credential now. It is false during the
// cool-down after a refusal, and if Redis does not answer.
func (c Credential) Usable(ctx context.Context) bool {
	s, err := c.State(ctx)
	return err == nil && s.CoolingFor == 0
}

// CredentialState is the state of a credential, which the fleet shares.
type CredentialState interface {
	State(ctx context.Context) (admission.State, error)
	ClearCoolDown(ctx context.Context) error
	// Announce says that a worker uses the credential; Users lists the workers that say so
	// of it, and those that use another one of the same name.
	Announce(ctx context.Context, worker string) error
	Users(ctx context.Context) (admission.Users, error)
	Close()
}

// New returns an account without parts.
func New(s Shared) *Account {
	if s.Salt == nil {
		s.Salt = seal.NewSalt(s.Redis)
	}
	if s.OnChange != nil {
		s.Admission = append(slices.Clip(s.Admission), admission.WithOnChange(s.OnChange))
	}
	return &Account{shared: s}
}

// DryRun returns an account whose requests all go to transport, with Placeholder as
// the token. It needs no Redis, and has neither credentials nor limits.
func DryRun(transport http.RoundTripper) *Account {
	return &Account{local: true, dryRun: transport}
}

// Local returns an account for one process without Redis, such as a unit test: it calls
// the vendor and logs in there, but has no limits and shares no state.
func Local() *Account {
	return &Account{local: true}
}

// IsDryRun reports whether the account only records its requests.
func (a *Account) IsDryRun() bool {
	return a.dryRun != nil
}

// Placeholder is every secret of a dry run.
var Placeholder = secret.New(secret.Redacted)

// Caller returns the Caller of the account's calls. vendor is the vendor's name in
// its errors and observations, operations are the names of all its calls there.
func (a *Account) Caller(vendor string, timeouts clients.Timeouts, operations ...string) *clients.Caller {
	if a.shared.Operations != nil {
		a.shared.Operations(vendor, operations...)
	}
	transport := a.dryRun
	if transport == nil {
		transport = a.shared.Proxy.Transport(timeouts)
	}
	return clients.NewCaller(vendor, timeouts, transport, a.shared.Observe)
}

// Source returns the token source of a credential that logs in; p.Fetch is required.
func (a *Account) Source(p tokens.Profile) tokens.Source {
	if a.dryRun != nil {
		return tokens.Fixed(Placeholder.Reveal())
	}
	if a.local {
		return tokens.Local(p)
	}
	source := tokens.NewSource(
		a.shared.Redis,
		a.shared.Ring,
		p,
		a.shared.TokenMetrics,
		a.shared.Admission...,
	)
	pausable := pausableSource{source, a.pause(p.Name)}
	a.addCredential(p.Profile, pausable)
	return pausable
}

// Gate returns the gate of a static credential, such as HTTP Basic.
func (a *Account) Gate(p admission.Profile) admission.Gate {
	if a.local {
		return admission.Always()
	}
	gate := pausableGate{
		Breaker: admission.NewBreaker(a.shared.Redis, p, a.shared.Admission...),
		pause:   a.pause(p.Name),
	}
	a.addCredential(p, gate)
	return gate
}

func (a *Account) addCredential(p admission.Profile, state CredentialState) {
	a.Credentials = append(a.Credentials, Credential{
		Name:            p.Name,
		Identity:        p.Identity,
		CredentialState: state,
	})
	if !p.ExpiresOn.IsZero() {
		a.Expiring = append(a.Expiring, p)
	}
	a.closers = append(a.closers, state.Close)
}

// Admitter returns what admits the calls of a credential: unless an operator has paused it,
// within the rate and concurrency of l, and while the vendor is not in trouble, as trip
// says; nil without Redis. It sets the name, identity and call timeout of l from p. All
// clients of the credential share the admitter.
func (a *Account) Admitter(p admission.Profile, l admission.Limits, trip settings.Share) clients.Admitter {
	if a.local {
		return nil
	}
	l.Name = p.Name
	l.Identity = identity(p)
	l.CallTimeout = p.Timeout
	admitter := &admission.Account{Pause: a.pause(p.Name)}
	if !trip.IsZero() {
		admitter.Outage = admission.NewOutage(a.shared.Redis, a.shared.Salt, l, trip, a.shared.Admission...)
		a.Outages = append(a.Outages, admitter.Outage)
	}
	if !l.IsZero() {
		admitter.Limiter = admission.NewLimiter(a.shared.Redis, a.shared.Salt, l, a.shared.Admission...)
		a.Limiters = append(a.Limiters, admitter.Limiter)
	}
	return admitter
}

// identity is what identifies an account at its vendor. A new password does not make
// it another account with another quota. If the account has nothing but a token, the
// token identifies it.
func identity(p admission.Profile) []string {
	id := p.Identity
	parts := []string{id.URL, id.ClientID, id.Username}
	if id.ClientID == "" && id.Username == "" {
		for _, s := range id.Secrets {
			parts = append(parts, s.Reveal())
		}
	}
	return parts
}

// Guard returns a guard that limits what each recipient is sent; nil if rate is
// unlimited. name is part of the Redis keys, who the word for a recipient.
func (a *Account) Guard(name, who string, rate settings.Rate) *admission.Guard {
	if a.local || rate.IsZero() {
		return nil
	}
	return admission.NewGuard(a.shared.Redis, a.shared.Salt, name, who, rate, a.shared.Admission...)
}

// Surge returns what announces that the account of a credential sends far more than usual;
// nil without Redis.
func (a *Account) Surge(p admission.Profile) *admission.Surge {
	if a.local {
		return nil
	}
	s := admission.NewSurge(a.shared.Redis, a.shared.Salt, p.Name, identity(p), a.shared.Admission...)
	a.closers = append(a.closers, s.Close)
	return s
}

// Detector returns a detector that publishes changed values as events; nil if no
// receiver is configured.
func (a *Account) Detector(c events.DetectorConfig) *events.Detector {
	if a.local || a.shared.Publish == nil {
		return nil
	}
	return events.NewDetector(c, a.shared.Redis, a.shared.Salt, a.shared.Publish)
}

// Close stops the account's background work.
func (a *Account) Close() {
	for _, closePart := range a.closers {
		closePart()
	}
}
