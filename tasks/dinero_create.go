package tasks

import (
	"context"
	"time"

	"errand.internal/clients/dinero"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// DineroRecord is what ContactCreate and InvoiceCreate have in common.
type DineroRecord struct {
	OrganizationID ID `json:"organizationId" validate:"required,number,max=20" clear:"true" doc:"the organization; the worker has its API key"`
	// Body is the vendor's own. Its ExternalReference, if given, is the task's key
	// and what the record is found by; otherwise the task's ID is written there.
	Body map[string]any `json:"body" validate:"required,min=1" doc:"as the vendor's page has it; ExternalReference, if given, is the key, at most 128 characters"`
}

// DineroCreated names a record in Dinero.
type DineroCreated = dinero.Created

// Check implements payload.Checker.
func (r DineroRecord) Check() []payload.Problem {
	if _, err := dinero.ReferenceOf(r.Body); err != nil {
		return []payload.Problem{{Field: "body.ExternalReference", Rule: err.Error()}}
	}
	return nil
}

// key is the ExternalReference together with its organization.
func (r DineroRecord) key() string {
	reference, err := dinero.ReferenceOf(r.Body)
	if err != nil || reference == "" {
		return ""
	}
	return string(r.OrganizationID) + ":" + reference
}

// keyOf is the key that a payload has of its own, "" for none; the option Key
// replaces it.
func keyOf(p queue.Payload) string {
	if own, ok := p.(interface{ key() string }); ok {
		return own.key()
	}
	return ""
}

// defaults: not repeatable, but findable. A create that may have happened is
// looked for before it is made again.
func (DineroRecord) defaults() queue.Defaults {
	return queue.Defaults{
		Queue:   "dinero",
		Budget:  24 * time.Hour,
		KeyLife: 90 * 24 * time.Hour,
		Backoff: queue.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute},
	}
}

// create is the record for the client. The task's ID is the same in every
// attempt, so that whoever looks for the record finds that of any attempt.
func (r DineroRecord) create(ctx context.Context) dinero.CreateRequest {
	return dinero.CreateRequest{
		Organization: string(r.OrganizationID),
		Body:         r.Body,
		Reference:    queue.TaskID(ctx),
	}
}

// reference is what the record is found by.
func (r DineroRecord) reference(ctx context.Context) string {
	if reference, err := dinero.ReferenceOf(r.Body); err == nil && reference != "" {
		return reference
	}
	return queue.TaskID(ctx)
}
