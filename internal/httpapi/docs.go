package httpapi

import (
	"bytes"
	_ "embed" // of the page
	"encoding/json"
	"fmt"
	"html/template"

	"github.com/danielgtaylor/huma/v2"

	"errand.internal/internal/produce"
)

//go:embed docs.html
var docsHTML string

var docsTemplate = template.Must(template.New("docs").Parse(docsHTML))

// docsPolicy lets the page show itself, and load nothing.
const docsPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'"

// docsOperation is an operation on the page.
type docsOperation struct {
	*huma.Operation
	// Fields and Example are those of its payload.
	Fields  []produce.FieldDetail
	Example string
}

// renderDocs makes the page of the description.
func renderDocs(doc *huma.OpenAPI) ([]byte, error) {
	var operations []docsOperation
	for _, t := range describedTypes() {
		path := tasksPath + "/" + t.Type
		var example bytes.Buffer
		if err := json.Indent(&example, t.Example, "", "  "); err != nil {
			return nil, fmt.Errorf("indent the example of %s: %w", t.Type, err)
		}
		operations = append(operations, docsOperation{
			Operation: doc.Paths[path].Post,
			Fields:    t.Fields,
			Example:   example.String(),
		})
	}
	for _, op := range []*huma.Operation{
		doc.Paths[tasksPath+":bulk"].Post,
		doc.Paths[tasksPath+"/{id}"].Get,
		doc.Paths[tasksPath+"/{id}"].Delete,
		doc.Paths["/v1/types"].Get,
	} {
		operations = append(operations, docsOperation{Operation: op})
	}
	var page bytes.Buffer
	err := docsTemplate.Execute(&page, map[string]any{
		"Outcomes":   produce.Outcomes,
		"Operations": operations,
	})
	return page.Bytes(), err
}

// page answers with the page. It needs nothing from outside.
func (a *api) page(q *request) error {
	h := q.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docsPolicy)
	_, _ = q.w.Write(a.docs)
	return nil
}
