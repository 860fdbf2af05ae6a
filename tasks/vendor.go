package tasks

import (
	"slices"
	"strings"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/worker"
)

// Vendor describes a vendor. The package of each vendor has one, and package all lists
// them.
type Vendor struct {
	// Name is the prefix of the vendor's task types and, in upper case, of its variables.
	// It labels the vendor's metrics.
	Name string
	// Title is the name as people write it.
	Title string
	// Queues are the queues of the vendor's tasks.
	Queues []Queue
	// Accounts are the types of accounts at the vendor, one for each login.
	Accounts []AccountType
}

// Queue is a queue with its defaults.
type Queue struct {
	// Name is the queue's name, with which the IDs of its tasks begin.
	Name string
	// Concurrency is how many of its tasks a worker runs at once, unless WORKER_QUEUES
	// says otherwise.
	Concurrency int
	// PollInterval is how often a worker polls the queue after it was paused or failing;
	// 250 ms if zero.
	PollInterval time.Duration
	// DelayInterval is how often a worker checks for scheduled and retried tasks that are
	// due; 1 s if zero.
	DelayInterval time.Duration
}

// Prefix returns the prefix of the vendor's variables.
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

// Definitions lists the vendor's task types for a worker without its accounts: their
// tasks wait for a worker that has them.
func (v Vendor) Definitions() []worker.Definition {
	var all []worker.Definition
	for _, a := range v.Accounts {
		all = append(all, v.Unopened(a)...)
	}
	return all
}

// Unopened lists the task types of an account type for a worker without such an
// account.
func (v Vendor) Unopened(a AccountType) []worker.Definition {
	return v.label(a.definitions)
}

// Open opens an account with parts from to. It returns the account's task types, bound
// to it.
func (v Vendor) Open(a AccountType, s account.Settings, to *account.Account) ([]worker.Definition, error) {
	definitions, err := a.open(s, to)
	return v.label(definitions), err
}

// label returns copies of the definitions that name the vendor.
func (v Vendor) label(definitions []worker.Definition) []worker.Definition {
	definitions = slices.Clone(definitions)
	for i := range definitions {
		definitions[i].Vendor = v.Name
	}
	return definitions
}

// AccountType is a type of account at a vendor: one login, its settings, and the tasks
// that need it.
type AccountType struct {
	// Name is its name in messages for operators, unique among all vendors.
	Name string

	newSettings func() account.Settings
	open        func(account.Settings, *account.Account) ([]worker.Definition, error)
	types       []Info
	definitions []worker.Definition
}

// Settings returns new settings of an account of the type.
func (a AccountType) Settings() account.Settings {
	return a.newSettings()
}

// NewAccountType returns an account type. S is a pointer to its settings. C is what the
// definitions need of an open account, usually the vendor's client.
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
	a.open = func(s account.Settings, to *account.Account) ([]worker.Definition, error) {
		client, err := open(s.(S), to)
		if err != nil {
			return nil, err
		}
		bound := make([]worker.Definition, len(definitions))
		for i, d := range definitions {
			bound[i] = d.bind(client)
		}
		return bound, nil
	}
	return a
}
