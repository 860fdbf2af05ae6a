// Package dinerodemo is Dinero's part of the demo.
package dinerodemo

import (
	"context"
	"fmt"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/demo"
	"errand.internal/tasks/dinero"
)

// Vendor shows an invoice that is created once.
var Vendor = demo.Vendor{
	NewSandbox: dinerotest.Demo,
	Steps:      steps,
	Commands:   commands,
}

// invoice is the command line's payload; its ExternalReference is not the story's.
const invoice = `{"organizationId":"` + dinerotest.Organization + `","body":{"ExternalReference":"order-2",` +
	`"ProductLines":[{"Description":"Consulting","Quantity":2,"AccountNumber":1000,"Unit":"hours",` +
	`"BaseAmountValue":800}]}}`

func steps(stage demo.Stage) []demo.Step {
	vendor := stage.Sandbox.(*dinerotest.Sandbox)
	create := dinero.InvoiceCreate{Record: dinero.Record{
		OrganizationID: dinerotest.Organization,
		Body: map[string]any{
			"ExternalReference": "order-1",
			"ProductLines": []any{map[string]any{
				"Description":     "Consulting",
				"Quantity":        1.5,
				"AccountNumber":   1000,
				"Unit":            "hours",
				"BaseAmountValue": 800,
			}},
		},
	}}
	wantOne := func() error {
		if n := len(vendor.Invoices(dinerotest.Organization)); n != 1 {
			return fmt.Errorf("the organization has %d invoices, want 1", n)
		}
		return nil
	}
	return []demo.Step{
		{
			Title: "an invoice is created",
			Run: func(ctx context.Context) (string, error) {
				created, err := demo.Run(ctx, stage.Client, create)
				if err != nil {
					return "", err
				}
				return "done: Guid " + created.GUID, wantOne()
			},
		},
		{
			Title: "the same reference again creates no second one",
			Run: func(ctx context.Context) (string, error) {
				if err := demo.WantDuplicate(ctx, stage.Client, create); err != nil {
					return "", err
				}
				return "duplicate", wantOne()
			},
		},
	}
}

func commands(string) []demo.Command {
	return []demo.Command{
		{
			Purpose: "create an invoice; the same line again finds the first task",
			Line:    "go run ./cmd/enqueue dinero:invoice:create --payload '" + invoice + "' --wait 10s --json",
		},
		{
			Purpose: "list the organization's invoices",
			Line: "go run ./cmd/enqueue dinero:api:call --set organizationId=" + dinerotest.Organization +
				" --set method=GET --set path=invoices --set query.fields=Guid,ExternalReference --wait 10s --json",
		},
	}
}
