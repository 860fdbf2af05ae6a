package tasks_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
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
	s := startShop(t, dinerotest.Options{Quota: 40, Now: func() time.Time { return began.Add(20 * time.Since(began)) }}, func(c *vendors.Config) {
		c.Dinero.Rate = settings.Rate{N: 30, Per: 3 * time.Second}
		c.Dinero.Timeout = 500 * time.Millisecond // less than an attempt has, so that it can wait
	})
	enqueue := func(organization string, i int) *tasks.Ticket[json.RawMessage] {
		t.Helper()
		ticket, err := s.client.EnqueueJSON(t.Context(), "dinero:invoice:create", []byte(invoiceFor(organization, fmt.Sprint("order-", i))))
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
