// Package payload decodes the payloads of tasks strictly, and reports every fault
// at once. It also describes a payload's fields, sets them from the command line,
// and masks them for display. All of it follows the same struct tags:
//
//	json      the field's name (the vendor's own)
//	validate  its rules: required, min, max, oneof, omitempty, omitnil, dive
//	text      what its text may be, a TextKind
//	doc       one phrase for `enqueue types`
//	clear     "true" if the value may be shown; everything else is masked
//
// Decode walks the JSON itself, because encoding/json/v2 (as
// github.com/go-json-experiment/json) is as strict but stops at the first fault,
// while Decode names every field at fault.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"errand.internal/internal/strictjson"
)

// MaxSize is the largest permitted payload, in bytes.
const MaxSize = 512 << 10

// Problem is one fault: a field, and the rule it breaks. It never quotes a value.
type Problem struct{ Field, Rule string }

// Error lists every fault of a payload.
type Error struct{ Problems []Problem }

// Error implements error: one line that names every field.
func (e *Error) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.Rule
		if p.Field != "" {
			parts[i] = p.Field + " " + p.Rule
		}
	}
	return strings.Join(parts, "; ")
}

// Checker is a payload with rules that span several fields.
type Checker interface{ Check() []Problem }

// Decode decodes raw, a JSON object, into the struct that into points to, and
// checks its rules. It returns an *Error that names every field at fault.
func Decode(raw []byte, into any) error {
	if len(raw) > MaxSize {
		return invalid(fmt.Sprintf("the payload has %d bytes, at most %d are allowed", len(raw), MaxSize))
	}
	if !json.Valid(raw) {
		return invalid("the payload is not JSON: " + syntaxFault(raw))
	}
	if trimmed := bytes.TrimSpace(raw); trimmed[0] != '{' {
		return invalid("the payload must be an object")
	}
	found := Unfaithful(raw)
	target := reflect.ValueOf(into).Elem()
	d := decoder{pass: newPass(found), twice: len(found) > 0}
	d.value(bytes.TrimSpace(raw), target)
	c := cleaner{pass: d.pass, own: true}
	c.value("", target)
	problems := merge(c.problems, validate(target, into, raw, d.path))
	if len(problems) == 0 {
		return nil
	}
	sort.SliceStable(problems, func(i, j int) bool {
		return problems[i].Field < problems[j].Field
	})
	return &Error{slices.Compact(problems)}
}

// merge adds to problems those of the rules that are broken. A field of the wrong type
// also breaks its rules; it is named once.
func merge(problems, broken []Problem) []Problem {
	if len(problems) == 0 {
		return broken
	}
	reported := map[string]bool{}
	for _, p := range problems {
		reported[p.Field] = true
	}
	for _, p := range broken {
		if !reported[p.Field] {
			problems = append(problems, p)
		}
	}
	return problems
}

// Unfaithful returns a problem for each place of a valid JSON text that cannot reach
// the vendor unchanged, in free bodies as well: a member that an object has twice, and
// text that is not Unicode.
func Unfaithful(raw []byte) []Problem {
	return problemsOf(strictjson.Faults(raw))
}

// UnfaithfulEncoding is Unfaithful for a payload that encoding/json has encoded.
func UnfaithfulEncoding(raw []byte) []Problem {
	return problemsOf(strictjson.EncodedFaults(raw))
}

func problemsOf(faults []strictjson.Fault) []Problem {
	var problems []Problem
	for _, f := range faults {
		problems = append(problems, Problem{Field: f.Path, Rule: f.Rule})
	}
	return problems
}

// invalid returns the Error of a payload that is wrong as a whole.
func invalid(rule string) *Error {
	return &Error{[]Problem{{Rule: rule}}}
}

func syntaxFault(raw []byte) string {
	if len(bytes.TrimSpace(raw)) == 0 {
		return "it is empty"
	}
	var v any
	err := json.Unmarshal(raw, &v)
	if fault, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("it ends early or has a syntax error at byte %d", fault.Offset)
	}
	return "it cannot be parsed"
}

// decoder decodes a valid JSON text into a payload.
type decoder struct {
	pass
	// twice: a member may be given twice. The first counts, and Unfaithful has reported
	// the second.
	twice bool
}

func (d *decoder) value(raw json.RawMessage, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if string(raw) == "null" {
			d.fault("must not be null; leave it out")
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(raw, v.Elem())
		return
	}
	s := shapeOf(v.Type())
	switch kind := v.Kind(); {
	case s.decodesItself:
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw); err != nil {
			d.fault(err.Error())
		}
	case kind == reflect.Struct:
		d.object(raw, v, s)
	case kind == reflect.Slice:
		d.list(raw, v)
	case string(raw) == "null" && kind != reflect.Interface, !s.decode(raw, v):
		d.fault("must be " + article(kindName(v.Type())))
	}
}

func (d *decoder) object(raw json.RawMessage, v reflect.Value, s *shape) {
	if raw[0] != '{' {
		d.fault("must be an object")
		return
	}
	var given map[string]bool
	if d.twice {
		given = map[string]bool{}
	}
	for name, value := range strictjson.Members(raw) {
		to, known := s.byName[string(name)]
		switch {
		case !known:
			d.enter(string(name))
			d.fault("is unknown" + s.suggestion(string(name)))
			d.leave()
			continue
		case given[to.name]:
			continue
		case d.twice:
			given[to.name] = true
		}
		d.enter(to.name)
		d.value(value, v.FieldByIndex(to.index))
		d.leave()
	}
}

func (d *decoder) list(raw json.RawMessage, v reflect.Value) {
	if raw[0] != '[' {
		d.fault("must be a list")
		return
	}
	items := strictjson.Items(raw)
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.enterEntry(i)
		d.value(item, v.Index(i))
		d.leave()
	}
}

// decode decodes a value that is neither a struct nor a list, and reports whether it has
// the type. encoding/json, which says the same, would check the text once more.
func (s *shape) decode(raw json.RawMessage, v reflect.Value) bool {
	switch kind := v.Kind(); {
	case kind == reflect.Interface, kind == reflect.Map:
		return s.decodeOpen(raw, v)
	case !s.plain:
	case kind == reflect.String:
		if raw[0] != '"' {
			return false
		}
		v.SetString(strictjson.Text(raw))
		return true
	case v.CanInt():
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || v.OverflowInt(n) {
			return false
		}
		v.SetInt(n)
		return true
	}
	return json.Unmarshal(raw, v.Addr().Interface()) == nil
}

// decodeOpen decodes what the payload leaves open. A number in a free body reaches the
// vendor exactly as the producer wrote it.
func (s *shape) decodeOpen(raw json.RawMessage, v reflect.Value) bool {
	switch {
	case v.Type() == anyType:
		if value := strictjson.Value(raw); value != nil {
			v.Set(reflect.ValueOf(value))
		}
		return true
	case s.object:
		if raw[0] != '{' {
			return false
		}
		v.Set(reflect.ValueOf(strictjson.Value(raw)).Convert(v.Type()))
		return true
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(v.Addr().Interface()) == nil
}

// suggestion names the field that differs from an unknown name only in case.
func (s *shape) suggestion(name string) string {
	for known := range s.byName {
		if strings.EqualFold(known, name) {
			return "; did you mean " + known + "?"
		}
	}
	return ""
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindName(t reflect.Type) string {
	if named, ok := reflect.New(t).Interface().(interface{ KindName() string }); ok {
		return named.KindName()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "integer"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "object"
	default:
		return "any JSON"
	}
}

func article(kind string) string {
	switch kind {
	case "integer":
		return "an integer"
	case "object":
		return "an object"
	case "list":
		return "a list"
	}
	return kind
}
