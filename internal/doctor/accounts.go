package doctor

import (
	"context"
	"errors"
	"slices"

	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/worker"
)

// openedAccount is an account, opened if it is configured and its settings are
// valid.
type openedAccount struct {
	config.Account
	// parts are the parts that the account's clients use.
	parts *account.Account
	// definitions are the account's task types; none if it could not be opened.
	definitions []worker.Definition
	// err says why it could not be opened.
	err error
}

// Why an account was not opened.
var (
	errNotConfigured = errors.New("not configured")
	errWrongSettings = errors.New("its settings are wrong")
)

func (d *doctor) openAccount(a config.Account) *openedAccount {
	opened := &openedAccount{
		Account: a,
		parts: account.New(account.Shared{
			Redis: d.redis,
			Ring:  d.config.Ring,
			Proxy: d.config.Proxy,
		}),
	}
	switch {
	case !a.Configured():
		opened.err = errNotConfigured
	case a.Validate() != nil:
		opened.err = errWrongSettings // the settings' checks name the faults
	default:
		opened.definitions, opened.err = a.Open(opened.parts)
	}
	return opened
}

// accountChecks checks one account: its hosts, its credentials and its limits.
func (d *doctor) accountChecks(ctx context.Context, a *openedAccount) []Check {
	if !a.Configured() {
		return []Check{{
			Level: redisguard.OK,
			Name:  a.Name(),
			Seen:  "not configured",
		}}
	}
	var checks []Check
	reachable := true
	for _, address := range a.Addresses() {
		name := a.Name()
		if len(a.Addresses()) > 1 {
			name += " " + address.Variable
		}
		found, ok := d.addressChecks(ctx, name, address, a.Timeouts())
		checks = append(checks, found...)
		reachable = reachable && ok
	}
	return slices.Concat(checks, d.credentialChecks(ctx, a, reachable), d.limitChecks(ctx, a))
}
