package dinero

import (
	"context"

	"errand.internal/clients/dinero"
	"errand.internal/tasks"
)

// ContactCreate creates a contact in Dinero, and never a second one for the same
// task: if the answer is lost, the contact is looked up by its ExternalReference,
// twice with a pause, before it is created again.
//
// https://api.dinero.dk/v1/docs
type ContactCreate struct{ Record }

// Type implements tasks.Task.
func (ContactCreate) Type() string {
	return "dinero:contact:create"
}

// Policy implements tasks.Task.
func (p ContactCreate) Policy() tasks.Policy {
	of := policy()
	of.Subjects = p.subjects()
	return of
}

// Result implements tasks.Task.
func (ContactCreate) Result() (r Created) {
	return r
}

func createContact(c *dinero.Client) tasks.Handler[ContactCreate, Created] {
	return func(ctx context.Context, p ContactCreate) (Created, error) {
		return c.CreateContact(ctx, p.create(ctx))
	}
}

func reconcileContact(c *dinero.Client) tasks.Reconciler[ContactCreate, Created] {
	return func(ctx context.Context, p ContactCreate) (Created, bool, error) {
		return c.ReconcileContact(ctx, string(p.OrganizationID), p.reference(ctx))
	}
}
