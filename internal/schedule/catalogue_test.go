package schedule

import (
	"context"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// catalogue has the task types that the tests schedule: those of one vendor, a
// shop.
var catalogue = tasks.Vendors{{
	Name:   "shop",
	Title:  "The shop",
	Queues: []tasks.Queue{{Name: "reads", Concurrency: 10}, {Name: "sends", Concurrency: 10}},
	Accounts: []tasks.AccountType{tasks.NewAccountType(
		"shop",
		func() account.Settings { return nil },
		func(account.Settings, *account.Account) (none, error) { return none{}, nil },
		tasks.Define("read the stock of an item", stockRead{ItemID: "i-1"}, noHandler[stockRead]),
		tasks.Define("close an item", itemClose{ItemID: "i-1"}, noHandler[itemClose]),
		tasks.Define(
			"send a passcode",
			codeSend{OrderID: 1, Values: texts{"email": "ana@example.com"}, Length: 6},
			noHandler[codeSend],
		),
	)},
}}

type none = tasks.None

// noHandler is the handler of a type that no test runs through the catalogue.
func noHandler[P tasks.Task[none]](none) tasks.Handler[P, none] {
	return func(context.Context, P) (none, error) { return none{}, nil }
}

// stockRead may be repeated, and has a nested object that may be left out.
type stockRead struct {
	ItemID  string      `json:"itemId,omitempty" validate:"max=256"`
	Catalog string      `json:"catalog,omitempty"`
	Number  string      `json:"number,omitempty"`
	Filters stockFilter `json:"filters,omitzero"`
}

type stockFilter struct {
	Warehouse string   `json:"warehouse,omitempty"`
	Since     string   `json:"since,omitempty"`
	Until     string   `json:"until,omitempty"`
	Status    string   `json:"status,omitempty" validate:"omitempty,oneof=A E"`
	Sizes     []string `json:"sizes,omitempty"`
}

func (stockRead) Type() string { return "shop:stock:read" }

func (stockRead) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "reads",
		Budget:     5 * time.Minute,
		Redelivery: tasks.AtLeastOnce,
		Retention:  10 * time.Minute,
		Backoff:    tasks.Backoff{Base: time.Second, Max: 30 * time.Second},
	}
}

func (stockRead) Result() (r none) { return r }

// Check implements payload.Checker.
func (p stockRead) Check() []payload.Problem {
	var found []payload.Problem
	if p.ItemID == "" && (p.Catalog == "" || p.Number == "") {
		found = append(found, payload.Problem{Field: "itemId", Rule: "is required, or both of catalog and number"})
	}
	for _, date := range []struct{ field, value string }{
		{"filters.since", p.Filters.Since},
		{"filters.until", p.Filters.Until},
	} {
		if _, err := time.Parse(time.DateOnly, date.value); date.value != "" && err != nil {
			found = append(found, payload.Problem{Field: date.field, Rule: "must be YYYY-MM-DD"})
		}
	}
	return found
}

// itemClose has one field, and is not repeated.
type itemClose struct {
	ItemID string `json:"itemId" validate:"required"`
}

func (itemClose) Type() string { return "shop:item:close" }

func (itemClose) Policy() tasks.Policy {
	return tasks.Policy{Queue: "sends", Budget: 72 * time.Hour}
}

func (itemClose) Result() (r none) { return r }

// codeSend is attempted at most once, within a short time. It has numbers, and an
// open object whose members are text.
type codeSend struct {
	OrderID int64  `json:"orderId" validate:"required,min=1"`
	Values  texts  `json:"values" validate:"required,min=1"`
	Length  int    `json:"length" validate:"required,min=3"`
	Code    string `json:"code,omitempty"`
}

// texts is an object whose members are text, whatever they look like.
type texts map[string]string

// TextMembers tells payload.Set about them.
func (*texts) TextMembers() {}

func (codeSend) Type() string { return "shop:code:send" }

func (codeSend) Policy() tasks.Policy {
	return tasks.Policy{Queue: "sends", Budget: 2 * time.Minute}
}

func (codeSend) Result() (r none) { return r }
