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
