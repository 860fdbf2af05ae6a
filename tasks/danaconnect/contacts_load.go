package danaconnect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"errand.internal/clients/danaconnect/contacts"
	"errand.internal/internal/freecall"
	"errand.internal/internal/payload"
	"errand.internal/tasks"
)

// ContactsLoad loads contacts into a table of DANAConnect's Contact Manager. Done
// means that the vendor accepted the file; it loads it later and reports the result
// on its platform. The task is attempted at most once unless the request certainly
// never left, because loading twice may insert twice.
//
// https://dev.danaconnect.com/openapi/contactbulkupload-reference
type ContactsLoad struct {
	TableCode     string   `json:"tableCode" validate:"required,max=128" text:"id" clear:"true" doc:"code of the table, from the Contact Manager's list"`
	FieldsCode    []string `json:"fieldsCode" validate:"required,min=1,dive,required,max=128" text:"id" clear:"true" doc:"field codes of the columns, in the order of the rows' cells"`
	Rows          [][]Cell `json:"rows" validate:"required,min=1" text:"lines" doc:"one list of cells for each contact; a cell is text or a number"`
	OperationType string   `json:"operationType,omitempty" validate:"max=32" text:"id" clear:"true" doc:"what to do with the rows; default INSALL (insert all)"`
	KeyField      string   `json:"keyField,omitempty" validate:"max=128" text:"id" clear:"true" doc:"field code that identifies a contact"`
	Strict        *bool    `json:"strict,omitempty" clear:"true" doc:"the vendor's strict flag; if omitted, the vendor's default applies"`
}

// Cell is one cell of a row. In JSON it may be given as text or as a number,
// which is sent as it was written.
type Cell string

// UnmarshalJSON implements json.Unmarshaler.
func (c *Cell) UnmarshalJSON(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	text, scalar := freecall.ScalarText(json.RawMessage(raw))
	if !scalar || raw[0] == 't' || raw[0] == 'f' {
		return errors.New("must be text or a number")
	}
	*c = Cell(text)
	return nil
}

// KindName names the type in descriptions.
func (Cell) KindName() string {
	return "text or number"
}

// Type implements tasks.Task.
func (ContactsLoad) Type() string {
	return "danaconnect:contacts:load"
}

// Policy implements tasks.Task.
func (ContactsLoad) Policy() tasks.Policy {
	return tasks.Policy{
		Queue:   "danaconnect",
		Budget:  6 * time.Hour,
		Backoff: tasks.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute},
	}
}

// code matches the codes of tables and fields, which become part of a path or of a
// list with semicolons.
var code = regexp.MustCompile(`^[\p{L}\p{N}_.-]+$`)

// maxRowProblems bounds how many wrong rows an error names: in a wrong file all rows
// are wrong.
const maxRowProblems = 10

// Check implements payload.Checker.
func (p ContactsLoad) Check() []payload.Problem {
	var found []payload.Problem
	add := func(field, rule string) {
		found = append(found, payload.Problem{Field: field, Rule: rule})
	}
	if p.TableCode != "" &&
		(!code.MatchString(p.TableCode) || p.TableCode == "." || p.TableCode == "..") {
		add("tableCode", codeRule)
	}
	if p.KeyField != "" && !code.MatchString(p.KeyField) {
		add("keyField", codeRule)
	}
	if p.OperationType != "" && !code.MatchString(p.OperationType) {
		add("operationType", codeRule)
	}
	return append(append(found, p.checkFields()...), p.checkRows()...)
}

const codeRule = "must be made of letters, digits and _ . -"

func (p ContactsLoad) checkFields() []payload.Problem {
	var found []payload.Problem
	add := func(field, rule string) {
		found = append(found, payload.Problem{Field: field, Rule: rule})
	}
	seen := map[string]bool{}
	for i, field := range p.FieldsCode {
		switch at := fmt.Sprintf("fieldsCode[%d]", i); {
		case field == "": // the tag says it
		case !code.MatchString(field):
			add(at, codeRule)
		case seen[field]:
			add(at, "is given twice")
		}
		seen[field] = true
	}
	return found
}

func (p ContactsLoad) checkRows() []payload.Problem {
	var found []payload.Problem
	add := func(field, rule string) {
		found = append(found, payload.Problem{Field: field, Rule: rule})
	}
	wrong := 0
	for i, row := range p.Rows {
		if len(row) == len(p.FieldsCode) {
			continue
		}
		if wrong++; wrong > maxRowProblems {
			add(
				"rows",
				fmt.Sprintf(
					"has more than %d rows of another length than fieldsCode",
					maxRowProblems,
				),
			)
			break
		}
		add(
			fmt.Sprintf("rows[%d]", i),
			fmt.Sprintf("must have %d cells, one for each field code", len(p.FieldsCode)),
		)
	}
	return found
}

// Result implements tasks.Task.
func (ContactsLoad) Result() (r tasks.Reply) {
	return r
}

func loadContacts(c *basicClient) tasks.Handler[ContactsLoad, tasks.Reply] {
	return func(ctx context.Context, p ContactsLoad) (tasks.Reply, error) {
		rows := make([][]string, len(p.Rows))
		for i, row := range p.Rows {
			for _, cell := range row {
				rows[i] = append(rows[i], string(cell))
			}
		}
		return c.contacts.Load(ctx, contacts.Load{
			TableCode:     p.TableCode,
			FieldsCode:    p.FieldsCode,
			Rows:          rows,
			OperationType: p.OperationType,
			KeyField:      p.KeyField,
			Strict:        p.Strict,
		})
	}
}
