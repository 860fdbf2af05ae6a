package config

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/account"
	"errand.internal/internal/broker"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
)

// OpenAccounts are the open accounts of a worker. Their secrets may change; see Update.
type OpenAccounts struct {
	// Definitions are the task types of all vendors. Those of unconfigured accounts
	// have no Run: their tasks wait for a worker that has the account.
	Definitions []worker.Definition

	live []*liveAccount // the configured accounts
}

// Open opens the configured accounts with parts from shared. The caller must close
// the result.
func (as Accounts) Open(shared account.Shared) (*OpenAccounts, error) {
	opened := &OpenAccounts{}
	for _, a := range as {
		if !a.Configured() {
			opened.Definitions = append(opened.Definitions, a.Unopened()...)
			continue
		}
		live, err := goLive(a, shared)
		if err != nil {
			opened.Close()
			return nil, err
		}
		opened.live = append(opened.live, live)
		opened.Definitions = append(opened.Definitions, live.definitions()...)
	}
	return opened, nil
}

// Parts lists the parts of each account as it is in use.
func (o *OpenAccounts) Parts() []*account.Account {
	var list []*account.Account
	for _, l := range o.live {
		list = append(list, l.parts())
	}
	return list
}

// Credentials lists the credentials of all accounts.
func (o *OpenAccounts) Credentials() []account.Credential {
	var all []account.Credential
	for _, l := range o.live {
		all = append(all, l.credentials(credentialsOf)...)
	}
	return all
}

// CredentialsAndBlockers lists the credentials of all accounts, and what else may park
// their tasks.
func (o *OpenAccounts) CredentialsAndBlockers() []account.Credential {
	var all []account.Credential
	for _, l := range o.live {
		all = slices.Concat(all, l.credentials(credentialsOf), l.credentials(blockersOf))
	}
	return all
}

func credentialsOf(a *account.Account) []account.Credential {
	return a.Credentials
}

func blockersOf(a *account.Account) []account.Credential {
	return a.Blockers
}

// Blockers lists what may park tasks. It does not include what only a payload names,
// such as an unlisted pipe; tasks that are parked for such a thing are retried one by
// one.
func (o *OpenAccounts) Blockers() []broker.Blocker {
	var list []broker.Blocker
	for _, l := range o.live {
		for _, c := range slices.Concat(l.credentials(credentialsOf), l.credentials(blockersOf)) {
			list = append(list, broker.Blocker{Name: c.Name, Usable: c.Usable})
		}
		parts := l.parts()
		for _, o := range parts.Outages {
			list = append(list, broker.Blocker{Name: o.Name(), Usable: o.Usable})
		}
		for _, p := range parts.Pauses {
			list = append(list, broker.Blocker{Name: p.Name(), Usable: p.Usable})
		}
	}
	return list
}

// Names are the accounts' names, by which operators pause them.
func (o *OpenAccounts) Names() []string {
	var names []string
	for _, a := range o.Parts() {
		for _, p := range a.Pauses {
			names = append(names, p.Account())
		}
	}
	return names
}

// Limits names what makes tasks of the accounts wait for their turn: rates,
// concurrencies and retry budgets.
func (o *OpenAccounts) Limits() []string {
	var names []string
	for _, a := range o.Parts() {
		for _, l := range a.Limiters {
			names = append(names, l.Limits().Names()...)
		}
		for _, o := range a.Outages {
			names = append(names, o.RetriesName())
		}
	}
	return names
}

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

// Close stops the background work of the accounts.
func (o *OpenAccounts) Close() {
	for _, l := range slices.Backward(o.live) {
		l.close()
	}
}

// Intervals returns how often a worker polls a queue that was paused or failing, and
// how often it checks the queue's scheduled and retried tasks. Zero means the
// worker's default.
func Intervals(queueName string) (poll, delay time.Duration) {
	for _, q := range KnownQueues() {
		if q.Name == queueName {
			return q.PollInterval, q.DelayInterval
		}
	}
	return 0, 0
}
