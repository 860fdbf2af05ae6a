package tasks

import (
	"context"

	"errand.internal/clients/dinero"
	"errand.internal/internal/queue"
)

// InvoiceCreate makes a draft of an invoice in Dinero, and never a second one for the same
// task: when the answer is lost it is looked for by its ExternalReference, twice
// with a pause, before it is made again.
//
// https://api.dinero.dk/v1/docs/api/POST-v1-organizationId-invoices
type InvoiceCreate struct{ DineroRecord }

// Type implements Task.
func (InvoiceCreate) Type() string {
	return "dinero:invoice:create"
}

// Defaults implements Task.
func (p InvoiceCreate) Defaults() queue.Defaults {
	return p.defaults()
}

func (InvoiceCreate) result() (r DineroCreated) {
	return r
}

type invoiceCreator interface {
	CreateInvoice(ctx context.Context, r dinero.CreateRequest) (dinero.Created, error)
}

func createInvoice(c invoiceCreator) handler[InvoiceCreate, DineroCreated] {
	return func(ctx context.Context, p InvoiceCreate) (DineroCreated, error) {
		return c.CreateInvoice(ctx, p.create(ctx))
	}
}

type invoiceFinder interface {
	ReconcileInvoice(
		ctx context.Context,
		organization, reference string,
	) (dinero.Created, bool, error)
}

func findInvoice(c invoiceFinder) finder[InvoiceCreate, DineroCreated] {
	return func(ctx context.Context, p InvoiceCreate) (DineroCreated, bool, error) {
		return c.ReconcileInvoice(ctx, string(p.OrganizationID), p.reference(ctx))
	}
}
