package danaconnect

import (
	"context"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/internal/freecall"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// APICall calls anything of DANAConnect's API 2.0. Done means that the vendor
// answered with a success status and complete JSON that states no failure; reading
// other codes in the answer is left to the application. A call that may have
// happened is repeated only if it is idempotent.
//
// https://dev.danaconnect.com/developer-portal
type APICall struct {
	Method string `json:"method" validate:"required,oneof=GET HEAD POST PUT PATCH DELETE" text:"id" clear:"true" doc:"HTTP method"`
	Path   string `json:"path" validate:"required,max=2048" text:"id" doc:"path below DANACONNECT_API_URL, URL-escaped, such as rest/conversation/824541"`
	Query  Query  `json:"query,omitempty" text:"free" doc:"query parameters; a value is text, a number, true, false, or a list of these"`
	Body   any    `json:"body,omitempty" text:"free" doc:"request body, sent as JSON; none if omitted"`
	// Idempotent says whether the call may be repeated; nil means GET and HEAD.
	Idempotent *bool `json:"idempotent,omitempty" clear:"true" doc:"true if the call may be repeated; default: true for GET and HEAD"`
}

// Query are the query parameters of a free call.
type Query = freecall.Query

// Type implements tasks.Task.
func (APICall) Type() string {
	return "danaconnect:api:call"
}

// Policy implements tasks.Task.
func (p APICall) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "danaconnect",
		Budget:     time.Hour,
		Redelivery: freecall.Redelivery(p.Idempotent, p.Method),
		Backoff:    tasks.Backoff{Base: time.Second, Max: 2 * time.Minute},
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
	return found
}

// Result implements tasks.Task.
func (APICall) Result() (r tasks.Reply) {
	return r
}

func callAPI(c *api.Client) tasks.Handler[APICall, tasks.Reply] {
	return func(ctx context.Context, p APICall) (tasks.Reply, error) {
		body, err := freecall.BodyJSON(p.Body)
		if err != nil {
			return tasks.Reply{}, err // never for a payload that has been decoded
		}
		return c.Call(ctx, api.Request{
			Method: p.Method,
			Path:   p.Path,
			Query:  p.Query.Values(),
			Body:   body,
		})
	}
}
