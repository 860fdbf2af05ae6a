package config

import (
	"context"
	"errors"
	"slices"

	"errand.internal/internal/account"
	"errand.internal/internal/admission"
)

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
