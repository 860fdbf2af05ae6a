package clientstest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// EveryRowCounts is a mutation test of a vendor's table of rules. It removes each
// row and changes each field of each row (see EveryFieldCounts), one at a time, and
// fails unless the vendor's own test notices. differs is that test: it returns a
// difference from what the vendor's page promises, "" if there is none.
//
// equivalent reports whether a change has no effect: the field is not used in that
// row, or the row now covers what an earlier row decides. It may be nil.
//
// EveryRowCounts changes the table that the client uses, so its caller must not run
// in parallel with other tests.
func EveryRowCounts[R any](
	t *testing.T,
	table *[]R,
	differs func() string,
	equivalent func(changed R, field string) bool,
) {
	t.Helper()
	kept := *table
	defer func() {
		*table = kept
	}()
	if len(kept) == 0 {
		t.Fatal("the table is empty")
	}
	for i, row := range kept {
		*table = slices.Delete(slices.Clone(kept), i, i+1)
		if differs() == "" {
			t.Errorf("no test notices that this row is missing: %+v", row)
		}
		*table = slices.Clone(kept)
		EveryFieldCounts(t, &(*table)[i], differs, equivalent)
	}
}

// EveryFieldCounts changes each field of one row of a table to each similar value,
// one at a time, and fails unless differs notices or equivalent is true. equivalent
// may be nil.
func EveryFieldCounts[R any](
	t *testing.T,
	row *R,
	differs func() string,
	equivalent func(changed R, field string) bool,
) {
	t.Helper()
	if why := differs(); why != "" {
		t.Fatalf("before any change: %s", why)
	}
	fields := reflect.ValueOf(row).Elem()
	before := fmt.Sprintf("%+v", *row)
	for i := range fields.NumField() {
		field, name := fields.Field(i), fields.Type().Field(i).Name
		kept := reflect.New(field.Type()).Elem()
		kept.Set(field)
		for _, other := range similarValues(t, field) {
			field.Set(other)
			if (equivalent == nil || !equivalent(*row, name)) && differs() == "" {
				t.Errorf("no test notices that %s is %#v in the row %s", name, other.Interface(), before)
			}
		}
		field.Set(kept)
	}
}

// similarValues returns values that a field could have by mistake.
func similarValues(t *testing.T, field reflect.Value) []reflect.Value {
	t.Helper()
	var others []any
	switch field.Kind() {
	case reflect.Bool:
		others = []any{!field.Bool()}
	case reflect.String:
		others = []any{field.String() + "x"}
		if field.String() != "" {
			others = append(others, "")
		}
	case reflect.Int:
		others = []any{field.Int() - 1, field.Int() + 1}
	case reflect.Int64: // a duration
		others = []any{field.Int() + int64(time.Second)}
	case reflect.Uint8: // an enumeration
		others = []any{field.Uint() + 1}
		if field.Uint() > 0 {
			others = append(others, field.Uint()-1)
		}
	default:
		t.Fatalf("no similar values are known for a %s", field.Type())
	}
	values := make([]reflect.Value, len(others))
	for i, other := range others {
		values[i] = reflect.ValueOf(other).Convert(field.Type())
	}
	return values
}
