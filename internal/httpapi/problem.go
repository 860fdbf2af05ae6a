package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// Problem is the body of every error (RFC 9457).
type Problem struct {
	Type   string  `json:"type" doc:"What kind of problem it is: urn:errand:problem: and a word."`
	Title  string  `json:"title" doc:"The same for every problem of the type."`
	Status int     `json:"status" doc:"The HTTP status."`
	Detail string  `json:"detail" doc:"What is wrong, and what to do."`
	ID     string  `json:"id,omitempty" doc:"The task that it is about."`
	Errors []Fault `json:"errors,omitempty" nullable:"false" doc:"Every place that is at fault."`

	retryAfter int // seconds; 0 for none
}

// Fault is one place of a request that is at fault.
type Fault struct {
	In    string `json:"in" enum:"body,query,header,path" doc:"The part of the request."`
	Field string `json:"field" doc:"The path of the field, or the name of the parameter; empty for the body as a whole."`
	Rule  string `json:"rule" doc:"The rule that it breaks. The value is never quoted."`
}

// problemTypes are the titles of the types of problems.
var problemTypes = map[string]string{
	"unauthorized":  "The key is missing or wrong",
	"forbidden":     "The key may not do this",
	"not-found":     "There is no such thing",
	"method":        "The method is not allowed here",
	"timeout":       "The body did not arrive in time",
	"started":       "The task can no longer be cancelled",
	"key-conflict":  "The key is taken by a task with another payload",
	"too-large":     "The body is too large",
	"encoding":      "The body must not be compressed",
	"invalid":       "The request is invalid",
	"too-many":      "Too many requests",
	"unavailable":   "Redis takes no writes now",
	"full":          "Too many tasks wait already",
	"unconfirmed":   "Redis did not confirm that the task is stored",
	"internal":      "Something unexpected happened",
	"incomplete":    "The body ended early",
	"shutting-down": "The worker is stopping",
}

const problemPrefix = "urn:errand:problem:"

func problem(status int, kind, detail string) *Problem {
	return &Problem{
		Type:   problemPrefix + kind,
		Title:  problemTypes[kind],
		Status: status,
		Detail: detail,
	}
}

// retry says after how many seconds the request may be repeated.
func (p *Problem) retry(seconds int) *Problem {
	p.retryAfter = max(seconds, 1)
	return p
}

// about says which task the problem is about.
func (p *Problem) about(id string) *Problem {
	p.ID = id
	return p
}

// Error implements error.
func (p *Problem) Error() string {
	return p.Detail
}

// invalid returns the problem of a request that is at fault in these places.
func invalid(faults ...Fault) *Problem {
	p := problem(http.StatusUnprocessableEntity, "invalid", "nothing was done; errors has every place at fault")
	if len(faults) == 1 {
		f := faults[0]
		p.Detail = strings.TrimSpace(f.Field + " " + f.Rule)
	}
	p.Errors = faults
	return p
}

// payloadFaults are the places of a payload that are at fault.
func payloadFaults(err *tasks.PayloadError) []Fault {
	var faults []Fault
	for _, p := range err.Problems {
		f := Fault{
			In:    "body",
			Field: p.Field,
			Rule:  p.Rule,
		}
		if p.Field == "the key" {
			f.In, f.Field = "header", idempotencyKey
		}
		faults = append(faults, f)
	}
	return faults
}

// retrySeconds is when a client may ask again after Redis took no writes.
const retrySeconds = 2

// problemOf returns the problem of an error of enqueueing, reading or cancelling.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if refused, ok := errors.AsType[*tasks.PayloadError](err); ok {
		return invalid(payloadFaults(refused)...)
	}
	if started, ok := errors.AsType[*tasks.StartedError](err); ok {
		return problem(http.StatusConflict, "started", started.Error())
	}
	if unconfirmed, ok := errors.AsType[*tasks.UnconfirmedError](err); ok {
		return problem(
			http.StatusServiceUnavailable,
			"unconfirmed",
			"the task may or may not be stored; with an "+idempotencyKey+" it is safe to send it again",
		).about(unconfirmed.ID).retry(retrySeconds)
	}
	if full, ok := errors.AsType[*tasks.FullError](err); ok {
		return problem(http.StatusServiceUnavailable, "full", full.Error()).retry(retrySeconds)
	}
	switch {
	case errors.Is(err, tasks.ErrKeyConflict):
		return problem(http.StatusConflict, "key-conflict", err.Error())
	case errors.Is(err, tasks.ErrNotFound), errors.Is(err, record.ErrBadID):
		return problem(http.StatusNotFound, "not-found", noTask)
	case produce.Unavailable(err):
		return problem(
			http.StatusServiceUnavailable,
			"unavailable",
			"nothing was done; send it again later",
		).retry(retrySeconds)
	}
	return problem(http.StatusInternalServerError, "internal", "nothing is known to be stored; the worker's log has more")
}

// noTask says the same about a task that does not exist and one of another key.
const noTask = "this key has no such task, or its record is no longer kept"

// write writes the problem.
func (p *Problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	writeJSON(w, p)
}

func writeJSON(w http.ResponseWriter, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // login URLs contain &
	_ = enc.Encode(v)        // the client is gone
}

// unknownType returns the problem of a task type that does not exist.
func unknownType(given string) *Problem {
	detail := "there is no such task type; GET /v1/types lists them"
	if similar := produce.SimilarTypes(given); len(similar) > 0 {
		detail = "there is no such task type; did you mean " + strings.Join(similar, " or ") + "?"
	}
	p := problem(http.StatusNotFound, "not-found", detail)
	p.Errors = []Fault{{
		In:    "path",
		Field: "type",
		Rule:  detail,
	}}
	return p
}

func forbiddenType(name, taskType string) *Problem {
	return problem(
		http.StatusForbidden,
		"forbidden",
		fmt.Sprintf("the key %s may not enqueue %s", name, taskType),
	)
}
