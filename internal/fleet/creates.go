package fleet

import (
	"encoding/json"

	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

// Organizations are those that have a key at Dinero.
func (s *Site) Organizations() []string {
	return s.organizations
}

// NewInvoice is a draft with an ExternalReference of its own. The organizations
// take turns.
func (s *Site) NewInvoice() tasks.InvoiceCreate {
	return tasks.InvoiceCreate{DineroRecord: s.newRecord(map[string]any{
		"ContactGuid":       "00000000-0000-4000-8000-000000000001",
		"Date":              "2026-01-31",
		"ExternalReference": s.name("order"),
		"ProductLines": []any{
			map[string]any{
				"Description":     s.name("product"),
				"Quantity":        json.Number("1.50"),
				"BaseAmountValue": json.Number("800"),
			},
		},
	})}
}

// NewContact is a contact without an ExternalReference: the task's ID becomes
// it.
func (s *Site) NewContact() tasks.ContactCreate {
	return tasks.ContactCreate{
		DineroRecord: s.newRecord(map[string]any{
			"Name":       s.name("person"),
			"IsPerson":   true,
			"CountryKey": "DK",
		}),
	}
}

func (s *Site) newRecord(body map[string]any) tasks.DineroRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return tasks.DineroRecord{
		OrganizationID: tasks.ID(s.organizations[s.next%len(s.organizations)]),
		Body:           body,
	}
}

// CreateInvoice enqueues a draft of its own.
func (s *Site) CreateInvoice(opts ...tasks.Option) string {
	return s.Enqueue(s.NewInvoice(), opts...)
}

// CreateContact enqueues a contact of its own.
func (s *Site) CreateContact(opts ...tasks.Option) string {
	return s.Enqueue(s.NewContact(), opts...)
}

// recordOf is what a create makes, and where the sandbox counts it.
func recordOf(p queue.Payload) (r tasks.DineroRecord, op string, ok bool) {
	switch p := p.(type) {
	case tasks.InvoiceCreate:
		return p.DineroRecord, dinerotest.OpInvoiceCreate, true
	case tasks.ContactCreate:
		return p.DineroRecord, dinerotest.OpContactCreate, true
	}
	return r, "", false
}

// referenceOf is what a create's record is found by.
func referenceOf(id string, r tasks.DineroRecord) string {
	if reference, err := dinero.ReferenceOf(r.Body); err == nil && reference != "" {
		return reference
	}
	return id
}

// hasKey reports whether a task has a key of its own.
func hasKey(p queue.Payload) bool {
	r, _, _ := recordOf(p)
	return referenceOf("", r) != ""
}

// made reports whether the result of a create names its own record, in its own
// organization.
func (s *Site) made(
	id string,
	r tasks.DineroRecord,
	op string,
	status *tasks.Status,
) bool {
	var created tasks.DineroCreated
	if json.Unmarshal(status.Data, &created) != nil {
		return false
	}
	records := s.Dinero.Contacts
	if op == dinerotest.OpInvoiceCreate {
		records = s.Dinero.Invoices
	}
	for _, record := range records(string(r.OrganizationID)) {
		if record.GUID == created.GUID {
			return record.ExternalReference == referenceOf(id, r)
		}
	}
	return false
}
