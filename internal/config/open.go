package config

import (
	"slices"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/broker"
	"errand.internal/internal/worker"
)

// OpenAccounts are the open accounts of a worker.
type OpenAccounts struct {
	// Accounts are the configured accounts.
	Accounts []*account.Account
	// Definitions are the task types of all vendors. Those of unconfigured accounts
	// have no Run: their tasks wait for a worker that has the account.
	Definitions []worker.Definition
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
		parts := account.New(shared)
		opened.Accounts = append(opened.Accounts, parts)
		bound, err := a.Open(parts)
		if err != nil {
			opened.Close()
			return nil, err
		}
		opened.Definitions = append(opened.Definitions, bound...)
	}
	return opened, nil
}

// Credentials lists the credentials of all accounts.
func (o *OpenAccounts) Credentials() []account.Credential {
	var all []account.Credential
	for _, a := range o.Accounts {
		all = append(all, a.Credentials...)
	}
	return all
}

// Blockers lists what may park tasks. It does not include what only a payload names,
// such as an unlisted pipe; tasks that are parked for such a thing are retried one by
// one.
func (o *OpenAccounts) Blockers() []broker.Blocker {
	var list []broker.Blocker
	for _, a := range o.Accounts {
		for _, c := range slices.Concat(a.Credentials, a.Blockers) {
			list = append(list, broker.Blocker{Name: c.Name, Usable: c.Usable})
		}
		for _, o := range a.Outages {
			list = append(list, broker.Blocker{Name: o.Name(), Usable: o.Usable})
		}
		for _, p := range a.Pauses {
			list = append(list, broker.Blocker{Name: p.Name(), Usable: p.Usable})
		}
	}
	return list
}

// Names are the accounts' names, by which operators pause them.
func (o *OpenAccounts) Names() []string {
	var names []string
	for _, a := range o.Accounts {
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
	for _, a := range o.Accounts {
		for _, l := range a.Limiters {
			names = append(names, l.Limits().Names()...)
		}
		for _, o := range a.Outages {
			names = append(names, o.RetriesName())
		}
	}
	return names
}

// Close stops the background work of the accounts.
func (o *OpenAccounts) Close() {
	for _, a := range slices.Backward(o.Accounts) {
		a.Close()
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
