package tasks

import (
	"slices"
	"strings"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/queue"
)

// Vendor is what Errand knows of a vendor. Each vendor's package has one, and
// package all lists them.
type Vendor struct {
	// Name begins the names of the vendor's task types and variables, and labels its
	// metrics.
	Name string
	// Title is the name as people write it.
	Title string
	// Queues are the queues of the vendor's tasks.
	Queues []Queue
	// Accounts are the kinds of accounts at the vendor, one for each login.
	Accounts []AccountType
}

// Queue is a queue and how it is worked on if the settings do not say.
type Queue struct {
	// Name is also what IDs of the queue's tasks begin with.
	Name string
	// Concurrency is how many of its tasks a worker runs at once.
	Concurrency int
	// PollInterval is how long a task may wait in a queue that was paused or in
	// trouble until the worker looks again; 250 ms if zero.
	PollInterval time.Duration
	// DelayInterval is how exactly a scheduled or retried task becomes due; 1 s if
	// zero.
	DelayInterval time.Duration
}

// Prefix begins the names of the vendor's variables.
func (v Vendor) Prefix() string {
	return strings.ToUpper(v.Name) + "_"
}

// Types lists the vendor's task types.
func (v Vendor) Types() []Info {
	var all []Info
	for _, a := range v.Accounts {
		for _, info := range a.types {
			info.Vendor = v.Name
			all = append(all, info)
		}
	}
	return all
}

// Definitions lists the vendor's task types as a worker runs them that has none
// of its accounts: tasks wait for a worker that has.
func (v Vendor) Definitions() []queue.Definition {
	var all []queue.Definition
	for _, a := range v.Accounts {
		all = append(all, v.Unopened(a)...)
	}
	return all
}

// Unopened lists the task types of an account type as a worker runs them that has
// no such account.
func (v Vendor) Unopened(a AccountType) []queue.Definition {
	return v.label(a.definitions)
}

// Open opens an account of the vendor, with clients that take their parts from
// to. It returns the account's task types bound to it.
func (v Vendor) Open(a AccountType, s account.Settings, to *account.Account) ([]queue.Definition, error) {
	definitions, err := a.open(s, to)
	return v.label(definitions), err
}

func (v Vendor) label(definitions []queue.Definition) []queue.Definition {
	definitions = slices.Clone(definitions)
	for i := range definitions {
		definitions[i].Vendor = v.Name
	}
	return definitions
}

// AccountType is a kind of account at a vendor: one login, the settings that it
// needs, and the tasks that need it.
type AccountType struct {
	// Name tells the account types of all vendors apart, in what an operator reads.
	Name string

	newSettings func() account.Settings
	open        func(account.Settings, *account.Account) ([]queue.Definition, error)
	types       []Info
	definitions []queue.Definition
}

// Settings returns empty settings of such an account.
func (a AccountType) Settings() account.Settings {
	return a.newSettings()
}

// NewAccountType returns an account type. S is a pointer to its settings, C what
// the tasks need of an open account: usually the client.
func NewAccountType[S account.Settings, C any](
	name string,
	newSettings func() S,
	open func(s S, to *account.Account) (C, error),
	definitions ...Definition[C],
) AccountType {
	a := AccountType{
		Name:        name,
		newSettings: func() account.Settings { return newSettings() },
	}
	for _, d := range definitions {
		a.types = append(a.types, d.info)
		a.definitions = append(a.definitions, d.unbound())
	}
	a.open = func(s account.Settings, to *account.Account) ([]queue.Definition, error) {
		client, err := open(s.(S), to)
		if err != nil {
			return nil, err
		}
		bound := make([]queue.Definition, len(definitions))
		for i, d := range definitions {
			bound[i] = d.bind(client)
		}
		return bound, nil
	}
	return a
}
