package tasks

import (
	"context"

	"errand.internal/clients/dinero"
	"errand.internal/internal/queue"
)

// ContactCreate makes a contact in Dinero, and never a second one for the same
// task: when the answer is lost it is looked for by its ExternalReference, twice
// with a pause, before it is made again.
//
// https://api.dinero.dk/v1/docs
type ContactCreate struct{ DineroRecord }

// Type implements Task.
func (ContactCreate) Type() string {
	return "dinero:contact:create"
}

// Defaults implements Task.
func (p ContactCreate) Defaults() queue.Defaults {
	return p.defaults()
}

func (ContactCreate) result() (r DineroCreated) {
	return r
}

type contactCreator interface {
	CreateContact(ctx context.Context, r dinero.CreateRequest) (dinero.Created, error)
}

func createContact(c contactCreator) handler[ContactCreate, DineroCreated] {
	return func(ctx context.Context, p ContactCreate) (DineroCreated, error) {
		return c.CreateContact(ctx, p.create(ctx))
	}
}

type contactFinder interface {
	ReconcileContact(
		ctx context.Context,
		organization, reference string,
	) (dinero.Created, bool, error)
}

func findContact(c contactFinder) finder[ContactCreate, DineroCreated] {
	return func(ctx context.Context, p ContactCreate) (DineroCreated, bool, error) {
		return c.ReconcileContact(ctx, string(p.OrganizationID), p.reference(ctx))
	}
}
