package dinero

import (
	"context"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/dinero"
	"errand.internal/internal/freecall"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// APICall calls anything of Dinero's API for one organization. To create contacts and
// invoices, use ContactCreate and InvoiceCreate, which never create one twice. A
// DELETE of a record that does not exist is done; a stale Timestamp (code 58) is
// declined.
//
// https://api.dinero.dk/v1/docs
type APICall struct {
	OrganizationID tasks.ID `json:"organizationId" validate:"required" text:"number" clear:"true" doc:"the organization; the worker has its API key"`
	Method         string   `json:"method" validate:"required,oneof=GET HEAD POST PUT PATCH DELETE" text:"id" clear:"true" doc:"HTTP method"`
	Path           string   `json:"path" validate:"required,max=2048" text:"id" doc:"path below {version}/{organizationId}/, URL-escaped, such as invoices/GUID/book"`
	Version        string   `json:"version,omitempty" text:"id" clear:"true" doc:"API version, such as v2 or v1.2; default v1"`
	Query          Query    `json:"query,omitempty" text:"free" doc:"query parameters; a value is text, a number, true, false, or a list of these"`
	Body           any      `json:"body,omitempty" text:"free" doc:"request body, sent as JSON; none if omitted"`
	// Idempotent says whether the call may be repeated; nil means GET and HEAD.
	Idempotent *bool `json:"idempotent,omitempty" clear:"true" doc:"true if the call may be repeated; default: true for GET and HEAD"`
}

// Query are the query parameters of a free call.
type Query = freecall.Query

// Type implements tasks.Task.
func (APICall) Type() string {
	return "dinero:api:call"
}

// Policy implements tasks.Task.
func (p APICall) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "dinero",
		Budget:     24 * time.Hour,
		Redelivery: freecall.Redelivery(p.Idempotent, p.Method),
		Backoff:    tasks.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute},
	}
}

// Check implements payload.Checker.
func (p APICall) Check() []payload.Problem {
	found := append(p.Query.Check("query"), freecall.CheckBody(p.Method, p.Body)...)
	if p.Path != "" {
		if err := clients.CheckPath(p.Path); err != nil {
			found = append(found, payload.Problem{Field: "path", Rule: err.Error()})
		}
	}
	if p.Version != "" && !dinero.IsVersion(p.Version) {
		found = append(
			found,
			payload.Problem{Field: "version", Rule: "must be written v1, v2 or v1.2"},
		)
	}
	return found
}

// Result implements tasks.Task.
func (APICall) Result() (r tasks.Reply) {
	return r
}

func callAPI(c *dinero.Client) tasks.Handler[APICall, tasks.Reply] {
	return func(ctx context.Context, p APICall) (tasks.Reply, error) {
		body, err := freecall.BodyJSON(p.Body)
		if err != nil {
			return tasks.Reply{}, err // never for a payload that has been decoded
		}
		return c.Call(ctx, dinero.Request{
			Organization: string(p.OrganizationID),
			Method:       p.Method,
			Version:      p.Version,
			Path:         p.Path,
			Query:        p.Query.Values(),
			Body:         body,
		})
	}
}
