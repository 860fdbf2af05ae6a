package clientstest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// EveryRowCounts makes every change of a vendor's table, one at a time, and
// wants the vendor's own test to notice: each row left out, and each field of
// each row changed (EveryFieldCounts). differs is that test: what means something
// else than was promised, "" if nothing does.
//
// idle names the changes that change nothing: of a field that has no say in a
// row, or a row that grows into what an earlier one decides. It may be nil.
//
// It changes the table that the client uses, so the test that calls it must not
// be parallel.
func EveryRowCounts[R any](
	t *testing.T,
	table *[]R,
	differs func() string,
	idle func(changed R, field string) bool,
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
			t.Errorf("no test notices that this row is left out: %+v", row)
		}
		*table = slices.Clone(kept)
		EveryFieldCounts(t, &(*table)[i], differs, idle)
	}
}

// EveryFieldCounts changes each field of one row of a table, one at a time and
// in each way that is near, and wants differs to notice, but for those that idle
// names. idle may be nil.
func EveryFieldCounts[R any](
	t *testing.T,
	row *R,
	differs func() string,
	idle func(changed R, field string) bool,
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
		for _, other := range near(t, field) {
			field.Set(other)
			if (idle == nil || !idle(*row, name)) && differs() == "" {
				t.Errorf(
					"no test notices that %s is %#v in the row %s",
					name,
					other.Interface(),
					before,
				)
			}
		}
		field.Set(kept)
	}
}

// near are the other values of a field that somebody may put there by mistake.
func near(t *testing.T, field reflect.Value) []reflect.Value {
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
		t.Fatalf("no value is known to be near a %s", field.Type())
	}
	values := make([]reflect.Value, len(others))
	for i, other := range others {
		values[i] = reflect.ValueOf(other).Convert(field.Type())
	}
	return values
}
