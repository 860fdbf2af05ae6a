package config

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/settings"
	"errand.internal/internal/tokens"
	"errand.internal/internal/worker"
)

// liveAccount is an account that goes on while its secrets change. Beside the account as
// it is in use it has, while a changed secret is not proven, the account with that secret:
//
//	call ──▶ next ── refused ──▶ current
//	           └─ proven: becomes current
//
// Every call goes to next first and, only if its credential is refused, to current. So a
// wrong new secret costs no task anything, and an old one that is revoked at once is not
// tried again. How often a refused secret is tried, the breakers see to: each secret has
// one of its own, which the fleet shares.
type liveAccount struct {
	Account
	shared account.Shared

	mu      sync.Mutex
	current *generation
	next    *generation // nil unless a changed secret is unproven
}

// generation is an account opened with certain secrets.
type generation struct {
	settings    account.Settings
	parts       *account.Account
	definitions []worker.Definition
	// inUse says that it is, or was, the current one: what becomes of its credentials is
	// worth an alert.
	inUse atomic.Bool
	// told is what the log says of its trial last.
	told string

	users   int  // calls under way; guarded by liveAccount.mu
	retired bool // guarded by liveAccount.mu
}

// goLive opens an account.
func goLive(a Account, shared account.Shared) (*liveAccount, error) {
	l := &liveAccount{
		Account: a,
		shared:  shared,
	}
	opened, err := l.open(a.Settings)
	if err != nil {
		return nil, err
	}
	opened.inUse.Store(true)
	l.current = opened
	return l, nil
}

func (l *liveAccount) open(s account.Settings) (*generation, error) {
	g := &generation{settings: s}
	shared := l.shared
	if onChange := shared.OnChange; onChange != nil {
		shared.OnChange = func(c admission.Change) {
			if g.inUse.Load() {
				onChange(c)
			}
		}
	}
	g.parts = account.New(shared)
	var err error
	if g.definitions, err = l.Vendor.Open(l.Type, s, g.parts); err != nil {
		g.parts.Close()
		return nil, err
	}
	return g, nil
}

// definitions lists the account's task types. They use whichever secret works.
func (l *liveAccount) definitions() []worker.Definition {
	list := slices.Clone(l.current.definitions)
	for i, d := range list {
		list[i].Run = func(ctx context.Context, p worker.Payload) (result any, err error) {
			err = l.call(ctx, func(ctx context.Context, g *generation) (err error) {
				result, err = g.definitions[i].Run(ctx, p)
				return err
			})
			return result, err
		}
		if d.Reconcile == nil {
			continue
		}
		list[i].Reconcile = func(ctx context.Context, p worker.Payload) (result any, found bool, err error) {
			err = l.call(ctx, func(ctx context.Context, g *generation) (err error) {
				result, found, err = g.definitions[i].Reconcile(ctx, p)
				return err
			})
			return result, found, err
		}
	}
	return list
}

// call makes a call with the next secret, if there is one, and with the current one if
// the next is refused. A refused call was not carried out, so it may be made again.
func (l *liveAccount) call(ctx context.Context, do func(context.Context, *generation) error) error {
	next, current, release := l.acquire()
	defer release()
	if next == nil {
		return do(ctx, current)
	}
	err := do(clients.WithTrial(ctx), next)
	if ctx.Err() != nil || !next.refused(err) {
		return err
	}
	return do(ctx, current)
}

// refused reports whether an error says that the generation's credential is refused, or
// known to be, so that another one may do better.
func (g *generation) refused(err error) bool {
	e, ok := clients.AsError(err)
	switch {
	case !ok:
		return false
	case e.Kind == clients.Credentials:
		return e.Status != 0 // otherwise the vendor's certificate is at fault
	}
	blocked, ok := errors.AsType[*admission.Blocked](err)
	return ok && slices.ContainsFunc(g.parts.Credentials, func(c account.Credential) bool {
		return c.Name == blocked.Key
	})
}

// acquire returns the generations, which stay open until release is called.
func (l *liveAccount) acquire() (next, current *generation, release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = l.next
	current = l.current
	current.users++
	if next == nil {
		return nil, current, func() { l.release(current) }
	}
	next.users++
	return next, current, func() { l.release(next, current) }
}

// parts are the parts of the account as it is in use.
func (l *liveAccount) parts() *account.Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current.parts
}

func (l *liveAccount) release(generations ...*generation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range generations {
		g.users--
		g.closeIfUnused()
	}
}

// closeIfUnused closes a retired generation once no call uses it. Its Close waits for a
// login under way, and nobody needs to wait for that.
func (g *generation) closeIfUnused() {
	if g.retired && g.users == 0 {
		go g.parts.Close()
	}
}

// retire has the generation closed when its last call has ended; nil is none.
func (g *generation) retire() {
	if g != nil && !g.retired {
		g.retired = true
		g.closeIfUnused()
	}
}

// offer takes changed settings over: from now on they are tried. It reports false if they
// are those in use, or are being tried already.
func (l *liveAccount) offer(s account.Settings) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case reflect.DeepEqual(s, l.current.settings): // taken back
		dropped := l.next != nil
		l.next.retire()
		l.next = nil
		return dropped, nil
	case l.next != nil && reflect.DeepEqual(s, l.next.settings):
		return false, nil
	}
	opened, err := l.open(s)
	if err != nil {
		return false, err
	}
	l.next.retire()
	l.next = opened
	return true, nil
}

// settle makes the next generation the current one if every credential that it changes
// has been proven, and logs what has come of it.
func (l *liveAccount) settle(ctx context.Context, log zerolog.Logger) {
	next, current, release := l.acquire()
	defer release()
	if next == nil {
		return
	}
	for _, c := range next.parts.Credentials {
		if current.has(c) {
			continue
		}
		state, err := c.State(ctx)
		if err != nil {
			return
		}
		if source, logsIn := c.CredentialState.(tokens.Source); logsIn && !works(state) && state.CoolingFor <= 0 {
			_, _ = source.Get(ctx) // the state says what came of it
			if state, err = c.State(ctx); err != nil {
				return
			}
		}
		if !works(state) {
			next.tell(log, l.Name(), c.Name, state)
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != next {
		return
	}
	next.inUse.Store(true)
	l.next = nil
	l.current = next
	current.retire()
	log.Info().Str("account", l.Name()).Msg("the changed secret of " + l.Name() + " works; the old one is dropped")
}

// tell logs once that a secret is refused.
func (g *generation) tell(log zerolog.Logger, accountName, credential string, state admission.State) {
	if !state.Refused || g.told == credential {
		return
	}
	g.told = credential
	log.Error().
		Str("account", accountName).
		Str("credential", credential).
		Str("reason", state.Reason).
		Msg("the changed secret of " + accountName + " is refused; the old one stays in use: correct the file, or unlock " +
			"the account at the vendor and run worker credentials clear " + credential)
}

// has reports whether the generation has the very same credential.
func (g *generation) has(c account.Credential) bool {
	return slices.ContainsFunc(g.parts.Credentials, func(own account.Credential) bool {
		return own.Name == c.Name && reflect.DeepEqual(own.Identity, c.Identity)
	})
}

func works(s admission.State) bool {
	return s.CoolingFor <= 0 && (s.Proven || s.TokenFor > 0)
}

// close closes the account.
func (l *liveAccount) close() {
	l.mu.Lock()
	generations := []*generation{l.next, l.current}
	l.mu.Unlock()
	for _, g := range generations {
		if g != nil {
			g.parts.Close()
		}
	}
}

// credentials lists the credentials that pick selects of each generation, each name once.
func (l *liveAccount) credentials(pick func(*account.Account) []account.Credential) []account.Credential {
	next, current, release := l.acquire()
	defer release()
	var list []account.Credential
	for _, g := range []*generation{current, next} {
		if g == nil {
			continue
		}
		for _, c := range pick(g.parts) {
			if slices.ContainsFunc(list, func(known account.Credential) bool { return known.Name == c.Name }) {
				continue
			}
			c.CredentialState = liveCredential{
				account: l,
				name:    c.Name,
				pick:    pick,
			}
			list = append(list, c)
		}
	}
	return list
}

// liveCredential is the credential of a name, with whichever secret is in use.
type liveCredential struct {
	account *liveAccount
	name    string
	pick    func(*account.Account) []account.Credential
}

var _ account.CredentialState = liveCredential{}

// errNoCredential says that the changed settings have no such credential any more.
var errNoCredential = errors.New("there is no such credential any more")

// with calls do with the credential of the next and the current generation; either may be
// nil, not both.
func (c liveCredential) with(do func(next, current account.CredentialState) error) error {
	next, current, release := c.account.acquire()
	defer release()
	find := func(g *generation) account.CredentialState {
		if g == nil {
			return nil
		}
		for _, own := range c.pick(g.parts) {
			if own.Name == c.name {
				return own.CredentialState
			}
		}
		return nil
	}
	inNext, inCurrent := find(next), find(current)
	if inNext == nil && inCurrent == nil {
		return errNoCredential
	}
	return do(inNext, inCurrent)
}

// better calls do with the one of both that works, or may be tried, and its state.
func (c liveCredential) better(
	ctx context.Context,
	do func(account.CredentialState, admission.State) error,
) error {
	return c.with(func(next, current account.CredentialState) error {
		if next == nil {
			next = current
			current = nil
		}
		state, err := next.State(ctx)
		if err != nil || current == nil || works(state) {
			return errors.Join(err, do(next, state))
		}
		old, err := current.State(ctx)
		if err == nil && !works(old) && old.CoolingFor > 0 && state.CoolingFor <= 0 {
			return do(next, state)
		}
		return errors.Join(err, do(current, old))
	})
}

// State implements account.CredentialState.
func (c liveCredential) State(ctx context.Context) (admission.State, error) {
	var state admission.State
	err := c.better(ctx, func(_ account.CredentialState, s admission.State) error {
		state = s
		return nil
	})
	return state, err
}

// ClearCoolDown implements account.CredentialState.
func (c liveCredential) ClearCoolDown(ctx context.Context) error {
	return c.with(func(next, current account.CredentialState) error {
		var errs []error
		for _, s := range []account.CredentialState{next, current} {
			if s != nil {
				errs = append(errs, s.ClearCoolDown(ctx))
			}
		}
		return errors.Join(errs...)
	})
}

// Announce implements account.CredentialState.
func (c liveCredential) Announce(ctx context.Context, owner string) error {
	// Nothing is asked of Redis about a credential that does not change: there may be hundreds.
	sure := false
	err := c.with(func(next, current account.CredentialState) error {
		sure = next == nil
		if !sure {
			return nil
		}
		return current.Announce(ctx, owner)
	})
	if sure || err != nil {
		return err
	}
	return c.better(ctx, func(s account.CredentialState, _ admission.State) error {
		return s.Announce(ctx, owner)
	})
}

// Users implements account.CredentialState.
func (c liveCredential) Users(ctx context.Context) (users admission.Users, err error) {
	err = c.better(ctx, func(s account.CredentialState, _ admission.State) (err error) {
		users, err = s.Users(ctx)
		return err
	})
	return users, err
}

// Close implements account.CredentialState: the account closes its credentials.
func (c liveCredential) Close() {}

// Update reads the settings of the accounts once more after their secrets have changed.
// What has changed is tried from now on, and the old secret stays in use until it works.
// An account whose settings are wrong keeps its own: the error names the variables.
func (o *OpenAccounts) Update(environ map[string]string, allowInsecureHTTP bool, log zerolog.Logger) error {
	var faults []error
	for _, l := range o.live {
		changed := l.Type.Settings()
		err := settings.Load(changed, environ)
		changed.SetAllowInsecureHTTP(allowInsecureHTTP)
		if err == nil {
			err = changed.Validate()
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		offered, err := l.offer(changed)
		faults = append(faults, err)
		if offered {
			log.Info().
				Str("account", l.Name()).
				Msg("a secret of " + l.Name() + " has changed; it is tried, and the old one is kept until it works")
		}
	}
	return settings.Collect(faults...)
}

// Settle drops the old secrets of the accounts whose changed ones have been proven.
func (o *OpenAccounts) Settle(ctx context.Context, log zerolog.Logger) {
	for _, l := range o.live {
		l.settle(ctx, log)
	}
}

// Announce says which credentials a worker uses.
func (o *OpenAccounts) Announce(ctx context.Context, owner string) error {
	var errs []error
	for _, c := range o.Credentials() {
		errs = append(errs, c.Announce(ctx, owner))
	}
	return errors.Join(errs...)
}
