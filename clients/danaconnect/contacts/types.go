package contacts

import (
	"errors"
	"strings"
)

// DefaultOperation is the operationType of the vendor's sample: insert all rows.
const DefaultOperation = "INSALL"

// Load is rows for one table of the Contact Manager. The names are the vendor's.
type Load struct {
	TableCode string
	// FieldsCode names the columns of Rows, in their order.
	FieldsCode []string
	Rows       [][]string
	// OperationType is DefaultOperation if empty.
	OperationType string
	// KeyField is the field that identifies a contact; "" leaves it to the vendor.
	KeyField string
	// Strict is the vendor's flag; nil leaves it to the vendor.
	Strict *bool
}

func (l Load) check() error {
	switch {
	case l.TableCode == "":
		return errors.New("tableCode is needed")
	case len(l.FieldsCode) == 0:
		return errors.New("fieldsCode is needed")
	case len(l.Rows) == 0:
		return errors.New("rows are needed")
	}
	for _, field := range l.FieldsCode {
		if field == "" || strings.Contains(field, ";") {
			return errors.New("a field code must not be empty or contain ';'")
		}
	}
	for _, row := range l.Rows {
		if len(row) != len(l.FieldsCode) {
			return errors.New("every row must have one cell for each field code")
		}
	}
	return nil
}
