package tasks

import (
	"context"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// DANAConnectCall calls anything of DANAConnect's API 2.0. Done means that the
// vendor answered with success and whole JSON, and states no failure; codes that
// the answer holds besides are the producer's to read. A call that may have
// happened is repeated only if it is idempotent.
//
// https://dev.danaconnect.com/developer-portal
type DANAConnectCall struct {
	Method string `json:"method" validate:"required,oneof=GET HEAD POST PUT PATCH DELETE" clear:"true" doc:"HTTP method"`
	Path   string `json:"path" validate:"required,max=2048" doc:"below DANACONNECT_API_URL, as in a URL: rest/conversation/824541"`
	Query  Query  `json:"query,omitempty" doc:"name to text, number, true or false, or to a list of those"`
	Body   any    `json:"body,omitempty" doc:"sent as JSON; none if left out"`
	// Idempotent says whether the call may be repeated; nil means GET and HEAD.
	Idempotent *bool `json:"idempotent,omitempty" clear:"true" doc:"true if repeating does no harm; GET and HEAD are by themselves"`
}

// Type implements Task.
func (DANAConnectCall) Type() string {
	return "danaconnect:api:call"
}

// Defaults implements Task.
func (p DANAConnectCall) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:      "danaconnect",
		Budget:     time.Hour,
		Repeatable: repeatable(p.Idempotent, p.Method),
		Backoff:    queue.Backoff{Base: time.Second, Max: 2 * time.Minute},
	}
}

// Check implements payload.Checker.
func (p DANAConnectCall) Check() []payload.Problem {
	found := append(p.Query.problems("query"), bodyProblems(p.Method, p.Body)...)
	if p.Path != "" {
		if err := api.CheckPath(p.Path); err != nil {
			found = append(found, payload.Problem{Field: "path", Rule: err.Error()})
		}
	}
	return found
}

func (DANAConnectCall) result() (r VendorAnswer) {
	return r
}

type danaconnectCaller interface {
	Call(ctx context.Context, r api.Request) (clients.Reply, error)
}

func callDANAConnect(c danaconnectCaller) handler[DANAConnectCall, VendorAnswer] {
	return func(ctx context.Context, p DANAConnectCall) (VendorAnswer, error) {
		body, err := bodyJSON(p.Body)
		if err != nil {
			return VendorAnswer{}, err // a decoded payload can always be written
		}
		answer, err := c.Call(ctx, api.Request{
			Method: p.Method,
			Path:   p.Path,
			Query:  p.Query.Values(),
			Body:   body,
			Once:   !repeatable(p.Idempotent, p.Method),
		})
		return VendorAnswer(answer), err
	}
}
