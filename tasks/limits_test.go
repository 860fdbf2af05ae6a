package tasks_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/settings"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// More invoices than the organization's quota admits, all at once: each is made
// at its first try, nobody meets a 429, and another organization does not wait.
func TestARateKeepsTheQuota(t *testing.T) {
	t.Parallel()
	// The vendor's minute is three seconds of ours.
	began := time.Now()
	s := startShop(
		t,
		dinerotest.Options{Quota: 40, Now: func() time.Time { return began.Add(20 * time.Since(began)) }},
		func(c *vendors.Config) {
			c.Dinero.Rate = settings.Rate{N: 30, Per: 3 * time.Second}
			c.Dinero.Timeout = 500 * time.Millisecond // less than an attempt has, so that it can wait
		},
	)
	enqueue := func(organization string, i int) *tasks.Ticket[json.RawMessage] {
		t.Helper()
		ticket, err := s.client.EnqueueJSON(
			t.Context(),
			"dinero:invoice:create",
			[]byte(invoiceFor(organization, fmt.Sprint("order-", i))),
		)
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	var tickets []*tasks.Ticket[json.RawMessage]
	for i := range 60 {
		tickets = append(tickets, enqueue(dinerotest.Organization, i))
	}
	other := enqueue(dinerotest.Organization2, 0)
	if _, err := wait(t, other); err != nil {
		t.Error(err)
	}
	if made := len(s.dinero.Invoices(dinerotest.Organization)); made > 40 {
		t.Errorf("the other organization waited for %d invoices", made)
	}
	for _, ticket := range tickets {
		if _, err := wait(t, ticket); err != nil {
			t.Error(err)
		}
		status, err := s.client.Status(t.Context(), ticket.ID)
		if err != nil || len(status.History) != 1 {
			t.Errorf("%+v, %v", status.History, err)
		}
	}
	if made := len(s.dinero.Invoices(dinerotest.Organization)); made != 60 {
		t.Errorf("%d invoices", made)
	}
}

// Answers that are lost while others stand in line: what is in doubt stays so
// while it waits for its turn to be looked for, and is not made twice.
func TestLookupsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{}, func(c *vendors.Config) {
		c.Dinero.Rate, c.Dinero.Timeout = settings.Rate{N: 4, Per: time.Second}, 500*time.Millisecond
	})
	s.dinero.Inject(sandbox.Fault{
		Op:          dinerotest.OpInvoiceCreate,
		Drop:        true,
		AfterEffect: true,
		Times:       4,
	})
	var tickets []*tasks.Ticket[json.RawMessage]
	for i := range 12 {
		ticket, err := s.client.EnqueueJSON(
			t.Context(),
			"dinero:invoice:create",
			[]byte(invoiceFor(dinerotest.Organization, fmt.Sprint("order-", i))),
		)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	lookedFor := 0
	for _, ticket := range tickets {
		if _, err := wait(t, ticket); err != nil {
			t.Error(err)
		}
		status, err := s.client.Status(t.Context(), ticket.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.History[0].Class == "unknown" {
			lookedFor++
		}
	}
	if made := len(s.dinero.Invoices(dinerotest.Organization)); made != 12 || lookedFor != 4 {
		t.Errorf("%d invoices, %d in doubt", made, lookedFor)
	}
}
