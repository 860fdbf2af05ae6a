package dinero

import (
	"context"

	"errand.internal/clients/dinero"
	"errand.internal/tasks"
)

// InvoiceCreate creates a draft of an invoice in Dinero, and never a second one for
// the same task: if the answer is lost, the draft is looked up by its
// ExternalReference, twice with a pause, before it is created again.
//
// https://api.dinero.dk/v1/docs/api/POST-v1-organizationId-invoices
type InvoiceCreate struct{ Record }

// Type implements tasks.Task.
func (InvoiceCreate) Type() string {
	return "dinero:invoice:create"
}

// Policy implements tasks.Task.
func (p InvoiceCreate) Policy() tasks.Policy {
	return policy()
}

// Result implements tasks.Task.
func (InvoiceCreate) Result() (r Created) {
	return r
}

func createInvoice(c *dinero.Client) tasks.Handler[InvoiceCreate, Created] {
	return func(ctx context.Context, p InvoiceCreate) (Created, error) {
		return c.CreateInvoice(ctx, p.create(ctx))
	}
}

func reconcileInvoice(c *dinero.Client) tasks.Reconciler[InvoiceCreate, Created] {
	return func(ctx context.Context, p InvoiceCreate) (Created, bool, error) {
		return c.ReconcileInvoice(ctx, string(p.OrganizationID), p.reference(ctx))
	}
}
