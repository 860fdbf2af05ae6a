// Package payload decodes the payloads of tasks strictly, and reports every fault
// at once. It also describes a payload's fields, sets them from the command line,
// and masks them for display. All of it follows the same struct tags:
//
//	json      the field's name (the vendor's own)
//	validate  its rules (go-playground/validator)
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
	d := decoder{given: map[string]bool{}, problems: Unfaithful(raw)}
	d.value("", raw, reflect.ValueOf(into).Elem())
	cleanValue("", "", reflect.ValueOf(into).Elem(), &d.problems)
	reported := map[string]bool{}
	for _, p := range d.problems {
		reported[p.Field] = true
	}
	for _, p := range Validate(into, d.given) {
		if !reported[p.Field] { // a field of the wrong type also breaks its rules
			d.problems = append(d.problems, p)
		}
	}
	if len(d.problems) == 0 {
		return nil
	}
	sort.SliceStable(d.problems, func(i, j int) bool {
		return d.problems[i].Field < d.problems[j].Field
	})
	return &Error{slices.Compact(d.problems)}
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

type decoder struct {
	problems []Problem
	given    map[string]bool // paths of the fields present in the payload
}

func (d *decoder) fault(field, rule string) {
	d.problems = append(d.problems, Problem{field, rule})
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (d *decoder) value(path string, raw json.RawMessage, v reflect.Value) {
	raw = bytes.TrimSpace(raw)
	d.given[path] = true
	if v.Kind() == reflect.Pointer {
		if string(raw) == "null" {
			d.fault(path, "must not be null; leave it out")
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, raw, v.Elem())
		return
	}
	if v.CanAddr() && reflect.PointerTo(v.Type()).Implements(unmarshaler) {
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw); err != nil {
			d.fault(path, err.Error())
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(path, raw, v)
	case reflect.Slice:
		d.list(path, raw, v)
	default:
		err := decodeKeepingNumbers(raw, v)
		if err != nil || string(raw) == "null" && v.Kind() != reflect.Interface {
			d.fault(path, "must be "+article(kindName(v.Type())))
		}
	}
}

// decodeKeepingNumbers decodes raw into v. A number in a free body reaches the
// vendor exactly as the producer wrote it.
func decodeKeepingNumbers(raw []byte, v reflect.Value) error {
	if v.Kind() != reflect.Interface && v.Kind() != reflect.Map {
		return json.Unmarshal(raw, v.Addr().Interface()) // it has a type for its numbers
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(v.Addr().Interface())
}

func (d *decoder) object(path string, raw json.RawMessage, v reflect.Value) {
	if raw[0] != '{' {
		d.fault(path, "must be an object")
		return
	}
	targets := map[string]reflect.Value{}
	collectFields(v, targets)
	for _, member := range strictjson.Members(raw) {
		name := member.Name
		field := join(path, name)
		switch target, known := targets[name]; {
		case !known:
			d.fault(field, "is unknown"+suggestion(name, targets))
		case !d.given[field]: // else Unfaithful has reported it
			d.value(field, member.Value, target)
		}
	}
}

func (d *decoder) list(path string, raw json.RawMessage, v reflect.Value) {
	var items []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		d.fault(path, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, v.Index(i))
	}
}

// collectFields indexes the fields of a struct, including those of embedded
// structs, by their JSON names.
func collectFields(v reflect.Value, into map[string]reflect.Value) {
	for field, value := range v.Fields() {
		if field.Anonymous {
			collectFields(value, into)
		} else if name := jsonName(field); name != "" {
			into[name] = value
		}
	}
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// suggestion names the field that differs from an unknown name only in case.
func suggestion(name string, targets map[string]reflect.Value) string {
	for known := range targets {
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
