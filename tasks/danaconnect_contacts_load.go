package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect/contacts"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// ContactsLoad hands contacts over for a table of DANAConnect's Contact Manager.
// Done means that the vendor accepted the file: it loads it later, and says on
// its platform what became of it. It is attempted at most once unless the
// request surely never left: loading twice may insert twice.
//
// https://dev.danaconnect.com/openapi/contactbulkupload-reference
type ContactsLoad struct {
	TableCode     string   `json:"tableCode" validate:"required,max=128" clear:"true" doc:"code of the table, from the Contact Manager's list"`
	FieldsCode    []string `json:"fieldsCode" validate:"required,min=1,dive,required,max=128" clear:"true" doc:"field codes of the columns, in the order of the rows' cells"`
	Rows          [][]Cell `json:"rows" validate:"required,min=1" doc:"one list of cells for each contact; a cell is text or a number"`
	OperationType string   `json:"operationType,omitempty" validate:"max=32" clear:"true" doc:"what is done with the rows; INSALL (insert all) if left out"`
	KeyField      string   `json:"keyField,omitempty" validate:"max=128" clear:"true" doc:"field code that tells contacts apart"`
	Strict        *bool    `json:"strict,omitempty" clear:"true" doc:"the vendor's flag; left to the vendor if left out"`
}

// Cell is one cell of a row. In JSON it may be given as text or as a number,
// which is sent as it was written.
type Cell string

// UnmarshalJSON implements json.Unmarshaler.
func (c *Cell) UnmarshalJSON(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	text, scalar := scalarText(json.RawMessage(raw))
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

// Type implements Task.
func (ContactsLoad) Type() string {
	return "danaconnect:contacts:load"
}

// Defaults implements Task.
func (ContactsLoad) Defaults() queue.Defaults {
	return queue.Defaults{
		Queue:   "danaconnect",
		Budget:  6 * time.Hour,
		Backoff: queue.Backoff{Base: 2 * time.Second, Max: 5 * time.Minute},
	}
}

// code is what a table's or field's code may be made of: it stands in a path,
// or in a list with semicolons.
var code = regexp.MustCompile(`^[\p{L}\p{N}_.-]+$`)

// maxRowProblems is how many wrong rows are named; a wrong file has them all
// wrong.
const maxRowProblems = 10

// Check implements payload.Checker.
func (p ContactsLoad) Check() []payload.Problem {
	var found []payload.Problem
	complain := func(field, rule string) {
		found = append(found, payload.Problem{Field: field, Rule: rule})
	}
	const signs = "must be made of letters, digits and _ . -"
	if p.TableCode != "" &&
		(!code.MatchString(p.TableCode) || p.TableCode == "." || p.TableCode == "..") {
		complain("tableCode", signs)
	}
	if p.KeyField != "" && !code.MatchString(p.KeyField) {
		complain("keyField", signs)
	}
	if p.OperationType != "" && !code.MatchString(p.OperationType) {
		complain("operationType", signs)
	}
	seen := map[string]bool{}
	for i, field := range p.FieldsCode {
		switch at := fmt.Sprintf("fieldsCode[%d]", i); {
		case field == "": // the tag says it
		case !code.MatchString(field):
			complain(at, signs)
		case seen[field]:
			complain(at, "is given twice")
		}
		seen[field] = true
	}
	wrong := 0
	for i, row := range p.Rows {
		if len(row) == len(p.FieldsCode) {
			continue
		}
		if wrong++; wrong > maxRowProblems {
			complain(
				"rows",
				fmt.Sprintf(
					"has more than %d rows of another length than fieldsCode",
					maxRowProblems,
				),
			)
			break
		}
		complain(
			fmt.Sprintf("rows[%d]", i),
			fmt.Sprintf("must have %d cells, one for each field code", len(p.FieldsCode)),
		)
	}
	return found
}

func (ContactsLoad) result() (r VendorAnswer) {
	return r
}

type contactLoader interface {
	Load(ctx context.Context, l contacts.Load) (clients.Reply, error)
}

func loadContacts(c contactLoader) handler[ContactsLoad, VendorAnswer] {
	return func(ctx context.Context, p ContactsLoad) (VendorAnswer, error) {
		rows := make([][]string, len(p.Rows))
		for i, row := range p.Rows {
			for _, cell := range row {
				rows[i] = append(rows[i], string(cell))
			}
		}
		answer, err := c.Load(ctx, contacts.Load{
			TableCode:     p.TableCode,
			FieldsCode:    p.FieldsCode,
			Rows:          rows,
			OperationType: p.OperationType,
			KeyField:      p.KeyField,
			Strict:        p.Strict,
		})
		return VendorAnswer(answer), err
	}
}
