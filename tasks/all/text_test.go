package all_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"errand.internal/internal/payload"
	"errand.internal/tasks/all"
)

// Every field that can hold a text says which: a new one must not reach a vendor
// without anybody having thought about pasted blanks.
func TestEveryTextHasAKind(t *testing.T) {
	t.Parallel()
	for _, info := range all.Vendors.Types() {
		for _, field := range undecidedTexts(info.Type, reflect.TypeOf(info.Example), "") {
			t.Errorf("%s can hold a text: give it a tag text, see payload.TextKind", field)
		}
	}
}

var textKinds = map[payload.TextKind]bool{
	payload.ID:     true,
	payload.Number: true,
	payload.Code:   true,
	payload.Line:   true,
	payload.Lines:  true,
	payload.Free:   true,
}

// undecidedTexts returns the paths of the fields in t that can hold a text of an
// undecided kind.
func undecidedTexts(path string, t reflect.Type, kind payload.TextKind) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return undecidedTexts(path, t.Elem(), kind)
	case reflect.String, reflect.Interface, reflect.Map:
		if !textKinds[kind] {
			return []string{path}
		}
	case reflect.Struct:
		var found []string
		for f := range t.Fields() {
			if !f.IsExported() {
				continue
			}
			at := fmt.Sprintf("%s %s", path, f.Name)
			found = append(found, undecidedTexts(at, f.Type, payload.TextKind(f.Tag.Get("text")))...)
		}
		return found
	}
	return nil
}

func TestUndecidedTextsAreFound(t *testing.T) {
	t.Parallel()
	type entry struct{ Name string }
	got := undecidedTexts("t", reflect.TypeFor[struct {
		ID      string `text:"id"`
		Wrong   string `text:"idd"`
		Entries []*entry
		Body    any
		Data    map[string]any `text:"free"`
		Count   int
	}](), "")
	if want := "t Wrong, t Entries Name, t Body"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
