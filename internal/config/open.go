package config

import (
	"slices"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/queue"
)

// OpenAccounts are the open accounts of a worker.
type OpenAccounts struct {
	// Accounts are the configured accounts.
	Accounts []*account.Account
	// Definitions are the task types of all vendors. Those of accounts that are not
	// configured have no Run: their tasks wait for a worker with such an account.
	Definitions []queue.Definition
}

// Open opens the configured accounts with parts from shared. The caller closes
// what it returns.
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

// Blockers lists what tasks may be parked for. A thing that no settings name, such
// as a pipe that only a payload names, is not among them; its tasks are retried
// on their own.
func (o *OpenAccounts) Blockers() []queue.Credential {
	var list []queue.Credential
	for _, a := range o.Accounts {
		for _, c := range slices.Concat(a.Credentials, a.Blockers) {
			list = append(list, queue.Credential{Name: c.Name, Usable: c.Usable})
		}
	}
	return list
}

// Close ends what the accounts do in the background.
func (o *OpenAccounts) Close() {
	for _, a := range slices.Backward(o.Accounts) {
		a.Close()
	}
}

// Intervals returns how often a worker polls a queue that was paused or in
// trouble, and how often it looks at the queue's scheduled and retried tasks; zero
// for a queue that leaves it to the worker.
func Intervals(queueName string) (poll, delay time.Duration) {
	for _, q := range KnownQueues() {
		if q.Name == queueName {
			return q.PollInterval, q.DelayInterval
		}
	}
	return 0, 0
}
