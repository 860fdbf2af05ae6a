package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"errand.internal/internal/bulk"
	"errand.internal/internal/produce"
	"errand.internal/internal/tracing"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

const introduction = `Enqueues tasks that call vendor APIs, and says what became of each.

A task ends with exactly one outcome:

| outcome | meaning | enqueue --wait exits with |
|---|---|---|
%s
Until then its state is pending, scheduled, running, retrying or parked. An
outcome is never an error of HTTP: a task that ended failed is answered with 200.

Give an Idempotency-Key to whatever must not happen twice: the second request with the
same key and type enqueues nothing and is answered with the first task.`

// describedTypes are all task types.
func describedTypes() []*produce.TypeDetail {
	var list []*produce.TypeDetail
	for _, info := range all.Vendors.Types() {
		if d, err := produce.DescribeType(info); err == nil { // its example is valid
			list = append(list, d)
		}
	}
	return list
}

// describe makes the description and the page of it.
func (a *api) describe() error {
	doc := Description()
	var err error
	if a.description, err = json.MarshalIndent(doc, "", "  "); err != nil {
		return fmt.Errorf("encode the description: %w", err)
	}
	a.docs, err = renderDocs(doc)
	return err
}

// Description returns the OpenAPI description of the interface.
func Description() *huma.OpenAPI {
	var outcomes strings.Builder
	for _, o := range produce.Outcomes {
		fmt.Fprintf(&outcomes, "| %s | %s | %d |\n", o.Outcome, o.Meaning, o.ExitCode)
	}
	d := &describer{&huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:       "Errand",
			Version:     "1",
			Description: fmt.Sprintf(introduction, outcomes.String()),
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"key": {Type: "http", Scheme: "bearer"},
			},
		},
		Security: []map[string][]string{{"key": {}}},
	}}
	for _, info := range all.Vendors.Types() {
		d.AddOperation(d.enqueue(info))
	}
	d.AddOperation(d.bulk())
	d.AddOperation(d.status())
	d.AddOperation(d.cancel())
	d.AddOperation(d.types())
	return d.OpenAPI
}

// describer adds what the operations have in common.
type describer struct{ *huma.OpenAPI }

// schema describes a type of an answer.
func (d *describer) schema(of any) *huma.Schema {
	return d.Components.Schemas.Schema(reflect.TypeOf(of), true, "")
}

// payload describes a payload under a name of its own, so that generated clients have a
// type for it: DanaconnectOtpSend.
func (d *describer) payload(info tasks.Info) *huma.Schema {
	var name strings.Builder
	for _, word := range strings.FieldsFunc(info.Type, func(r rune) bool { return r == ':' || r == '_' }) {
		name.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	d.Components.Schemas.Map()[name.String()] = payloadSchema(info)
	return &huma.Schema{Ref: "#/components/schemas/" + name.String()}
}

func content(contentType string, s *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{contentType: {Schema: s}}
}

// responses are an operation's answers: the good ones by their meaning, and problems.
func (d *describer) responses(body *huma.Schema, good map[int]string, problems ...int) map[string]*huma.Response {
	list := map[string]*huma.Response{}
	for status, meaning := range good {
		list[strconv.Itoa(status)] = &huma.Response{
			Description: meaning,
			Content:     content("application/json", body),
		}
	}
	problems = append(problems, http.StatusUnauthorized, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable)
	for _, status := range problems {
		r := &huma.Response{
			Description: problemMeanings[status],
			Content:     content("application/problem+json", d.schema(Problem{})),
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			r.Headers = map[string]*huma.Param{"Retry-After": {
				Description: "after how many seconds to try again",
				Schema:      &huma.Schema{Type: huma.TypeInteger},
			}}
		}
		list[strconv.Itoa(status)] = r
	}
	return list
}

var problemMeanings = map[int]string{
	http.StatusBadRequest:            "the body ended early",
	http.StatusUnauthorized:          "the key is missing or wrong",
	http.StatusForbidden:             "the key may not enqueue this type",
	http.StatusNotFound:              "this key has no such task",
	http.StatusRequestTimeout:        "the body did not arrive in time",
	http.StatusConflict:              "the Idempotency-Key is taken by a task with another payload",
	http.StatusRequestEntityTooLarge: "the payload has more than 524288 bytes",
	http.StatusUnsupportedMediaType:  "the body is compressed",
	http.StatusUnprocessableEntity:   "the request is invalid; errors has every place at fault, and nothing was stored",
	http.StatusTooManyRequests:       "the key sends too many requests",
	http.StatusInternalServerError:   "something unexpected happened",
	http.StatusServiceUnavailable:    "Redis takes no writes now, or did not confirm one",
}

// bodyProblems are those of an operation with a body.
var bodyProblems = []int{
	http.StatusBadRequest,
	http.StatusForbidden,
	http.StatusRequestTimeout,
	http.StatusUnsupportedMediaType,
}

func parameter(in, name, description string, s *huma.Schema) *huma.Param {
	return &huma.Param{
		Name:        name,
		In:          in,
		Description: description,
		Required:    in == "path",
		Schema:      s,
	}
}

func text(format string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: format}
}

func waitParameter() *huma.Param {
	return parameter("query", "wait", "how long to wait for the outcome, such as 20s; at most 60s", text(""))
}

func traceParameter() *huma.Param {
	return parameter(
		"header",
		tracing.Header,
		"the caller's trace (W3C Trace Context), which the task carries to the vendor; ignored if malformed",
		text(""),
	)
}

func optionParameters() []*huma.Param {
	return []*huma.Param{
		parameter("query", "in", "start after this time, such as 10m", text("")),
		parameter("query", "at", "start at this time", text("date-time")),
		parameter("query", "usableFor", "how long after its start the task is worth running, such as 90s", text("")),
		parameter("query", "notify", "send a task.finished event at its end", &huma.Schema{Type: huma.TypeBoolean}),
	}
}

// enqueue describes the enqueueing of one type.
func (d *describer) enqueue(info tasks.Info) *huma.Operation {
	name := strings.ReplaceAll(info.Type, ":", "-")
	p := info.Example.Policy()
	return &huma.Operation{
		OperationID: "enqueue-" + strings.ReplaceAll(name, "_", "-"),
		Method:      http.MethodPost,
		Path:        tasksPath + "/" + info.Type,
		Tags:        []string{info.Vendor},
		Summary:     info.Summary,
		Description: fmt.Sprintf(
			"Queue %s; worth running for %s.",
			p.Queue,
			produce.FormatDuration(p.Budget),
		),
		Parameters: append(
			optionParameters(),
			waitParameter(),
			parameter("header", idempotencyKey, "the task's key: a second request with it enqueues nothing", text("")),
			traceParameter(),
		),
		RequestBody: &huma.RequestBody{
			Required: true,
			Content: map[string]*huma.MediaType{"application/json": {
				Schema:  d.payload(info),
				Example: info.Example,
			}},
		},
		Responses: d.responses(d.schema(produce.Report{}), map[int]string{
			http.StatusAccepted: "the task is stored, and has not ended yet",
			http.StatusOK:       "the task has ended, or the key belongs to an earlier one (duplicate)",
		}, append([]int{http.StatusConflict, http.StatusRequestEntityTooLarge}, bodyProblems...)...),
	}
}

func (d *describer) bulk() *huma.Operation {
	op := &huma.Operation{
		OperationID: "enqueue-bulk",
		Method:      http.MethodPost,
		Path:        tasksPath + ":bulk",
		Summary:     "enqueue a task for each row",
		Description: "The body has one object a line: type (or the parameter type), payload, key. A row without a key " +
			"gets a digest of its type and payload, so sending the same rows again enqueues only what is missing. The " +
			"answer has a receipt for each row, in their order and while they arrive, and a last line with the counts; " +
			"without it the answer was cut off.",
		Parameters: append(
			optionParameters(),
			parameter("query", "type", "the task type of the rows that do not name one", text("")),
			traceParameter(),
		),
		RequestBody: &huma.RequestBody{
			Required: true,
			Content:  content(linesType, text("binary")),
		},
		Responses: d.responses(nil, nil, bodyProblems...),
	}
	op.Responses["200"] = &huma.Response{
		Description: "the receipts; the last line is a BulkEnd",
		Content: content(linesType, &huma.Schema{AnyOf: []*huma.Schema{
			d.schema(bulk.Receipt{}),
			d.schema(BulkEnd{}),
		}}),
	}
	return op
}

func (d *describer) status() *huma.Operation {
	return &huma.Operation{
		OperationID: "get-task",
		Method:      http.MethodGet,
		Path:        tasksPath + "/{id}",
		Summary:     "read a task, its outcome and every attempt",
		Parameters:  []*huma.Param{parameter("path", "id", "", text("")), waitParameter()},
		Responses: d.responses(d.schema(produce.Report{}), map[int]string{
			http.StatusOK: "the task",
		}, http.StatusNotFound),
	}
}

func (d *describer) cancel() *huma.Operation {
	op := &huma.Operation{
		OperationID: "cancel-task",
		Method:      http.MethodDelete,
		Path:        tasksPath + "/{id}",
		Summary:     "cancel a task that was never attempted",
		Parameters:  []*huma.Param{parameter("path", "id", "", text(""))},
		Responses: d.responses(d.schema(produce.Report{}), map[int]string{
			http.StatusOK: "the task is cancelled",
		}, http.StatusNotFound, http.StatusConflict),
	}
	op.Responses["409"].Description = "it was attempted, or has ended"
	return op
}

func (d *describer) types() *huma.Operation {
	return &huma.Operation{
		OperationID: "list-types",
		Method:      http.MethodGet,
		Path:        "/v1/types",
		Summary:     "list the task types with their fields and an example",
		Security:    []map[string][]string{{}},
		Responses: map[string]*huma.Response{
			"200": {
				Description: "the types",
				Content: content("application/json", &huma.Schema{
					Type:  huma.TypeArray,
					Items: d.schema(produce.TypeDetail{}),
				}),
			},
		},
	}
}

// openAPI answers with the description.
func (a *api) openAPI(q *request) error {
	q.w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = q.w.Write(a.description)
	return nil
}
