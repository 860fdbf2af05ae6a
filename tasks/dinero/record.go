package dinero

import (
	"context"
	"time"

	"errand.internal/clients/dinero"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// Record is what ContactCreate and InvoiceCreate have in common.
type Record struct {
	OrganizationID tasks.ID `json:"organizationId" validate:"required" text:"number" clear:"true" doc:"the organization; the worker has its API key"`
	// Body is the vendor's own. Its ExternalReference, if given, is the task's key
	// and what the record is found by; otherwise the task's ID is written there.
	Body Body `json:"body" validate:"required,min=1" text:"free" doc:"the vendor's fields; ExternalReference, if given, is the task's key, at most 128 characters"`
}

// Body is the body of a create, with the vendor's own fields.
type Body map[string]any

// TextMember tells enqueue --set that an ExternalReference is text, also one that
// looks like a number.
func (Body) TextMember(name string) bool {
	return dinero.IsReference(name)
}

// Created names a record in Dinero.
type Created = dinero.Created

// Check implements payload.Checker.
func (r Record) Check() []payload.Problem {
	if _, err := dinero.ReferenceOf(r.Body); err != nil {
		return []payload.Problem{{Field: "body.ExternalReference", Rule: err.Error()}}
	}
	return nil
}

// Key implements tasks.Keyed: the ExternalReference within its organization.
func (r Record) Key() string {
	reference, err := dinero.ReferenceOf(r.Body)
	if err != nil || reference == "" {
		return ""
	}
	return string(r.OrganizationID) + ":" + reference
}

// KeyField implements tasks.Keyed.
func (r Record) KeyField() (field, text string) {
	text, _ = dinero.ReferenceOf(r.Body)
	return "body.ExternalReference", text
}

// subjects are the addresses of the person or company that the record is about.
func (r Record) subjects() []string {
	var found []string
	for _, field := range []string{"Email", "Phone"} {
		if text, ok := r.Body[field].(string); ok && text != "" {
			found = append(found, text)
		}
	}
	return found
}

// policy is the policy of both creates. One that may have happened is looked up at
// the vendor before it is repeated.
func policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "dinero",
		Budget:     24 * time.Hour,
		Redelivery: tasks.Reconciled,
		KeyTTL:     90 * 24 * time.Hour,
		Backoff:    tasks.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute},
	}
}

// create returns the client's request. The reference is the task's ID, which is the
// same in every attempt, so a lookup finds the record of any attempt.
func (r Record) create(ctx context.Context) dinero.CreateRequest {
	return dinero.CreateRequest{
		Organization: string(r.OrganizationID),
		Body:         r.Body,
		Reference:    tasks.TaskID(ctx),
	}
}

// reference returns the ExternalReference by which a lookup finds the record.
func (r Record) reference(ctx context.Context) string {
	if reference, err := dinero.ReferenceOf(r.Body); err == nil && reference != "" {
		return reference
	}
	return tasks.TaskID(ctx)
}
