package dckap

import (
	"context"
	"time"

	"errand.internal/clients/dckap"
	"errand.internal/internal/freecall"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// DynamicCall calls a dynamic pipe of DCKAP Integrator. Done means that the pipe
// answered with JSON and reports no failure; Verified in the result says whether
// its success rule (DCKAP_PIPES_FILE) was applied and met. A failure that the
// pipe reports, and a call that may have happened, are repeated only if the call
// is idempotent, by its payload or by the pipes file.
//
// https://docs.dckapintegrator.com/user-guide/api-access-keys
type DynamicCall struct {
	Listener string `json:"listener" validate:"required,max=2048" text:"id" clear:"true" doc:"id of the pipe's listener, or the URL copied from the pipe"`
	Method   string `json:"method,omitempty" validate:"omitempty,oneof=GET POST PUT PATCH DELETE" text:"id" clear:"true" doc:"HTTP method; default POST"`
	Query    Query  `json:"query,omitempty" text:"free" doc:"query parameters; a value is text, a number, true, false, or a list of these"`
	Body     any    `json:"body,omitempty" text:"free" doc:"request body, sent as JSON; none if omitted"`
	// Idempotent says whether the call may be repeated; nil means GET, and what the
	// pipes file says.
	Idempotent *bool `json:"idempotent,omitempty" clear:"true" doc:"true if the call may be repeated; default: true for GET, and for a pipe that DCKAP_PIPES_FILE marks idempotent"`
}

// PipeAnswer is a pipe's unchanged answer.
type PipeAnswer = dckap.Answer

// Query are the query parameters of a free call.
type Query = freecall.Query

// Type implements tasks.Task.
func (DynamicCall) Type() string {
	return "dckap:dynamic:call"
}

// Policy implements tasks.Task.
func (p DynamicCall) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:      "dckap",
		Budget:     24 * time.Hour,
		Redelivery: freecall.Redelivery(p.Idempotent, p.Method),
		Backoff:    tasks.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute},
	}
}

// Check implements payload.Checker.
func (p DynamicCall) Check() []payload.Problem {
	found := append(p.Query.Check("query"), freecall.CheckBody(p.Method, p.Body)...)
	if p.Listener != "" {
		if err := dckap.CheckListener(p.Listener); err != nil {
			found = append(found, payload.Problem{Field: "listener", Rule: err.Error()})
		}
	}
	for name := range p.Query {
		if dckap.IsCredentialParameter(name) {
			found = append(
				found,
				payload.Problem{
					Field: "query." + name,
					Rule:  "must not be given: the credential is in the worker's settings",
				},
			)
		}
	}
	return found
}

// Result implements tasks.Task.
func (DynamicCall) Result() (r PipeAnswer) {
	return r
}

func callPipe(c *dckap.Client) tasks.Handler[DynamicCall, PipeAnswer] {
	return func(ctx context.Context, p DynamicCall) (PipeAnswer, error) {
		body, err := freecall.BodyJSON(p.Body)
		if err != nil {
			return PipeAnswer{}, err // never for a payload that has been decoded
		}
		return c.Call(ctx, dckap.Call{
			Listener:   p.Listener,
			Method:     p.Method,
			Query:      p.Query.Values(),
			Body:       body,
			Idempotent: p.Idempotent,
		})
	}
}
