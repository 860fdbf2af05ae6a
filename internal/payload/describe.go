package payload

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Field describes one field of a payload.
type Field struct {
	Path     string // such as "messengerFilters.status"
	Kind     string // such as "text" or "integer"
	Required bool
	Rules    string // such as "1 to 3200"
	Doc      string
}

// Describe lists the fields of a payload in the order of the struct.
func Describe(p any) []Field {
	var fields []Field
	describe("", reflect.TypeOf(p), &fields)
	return fields
}

func describe(path string, t reflect.Type, into *[]Field) {
	for f := range t.Fields() {
		if f.Anonymous {
			describe(path, f.Type, into)
			continue
		}
		name := jsonName(f)
		if name == "" {
			continue
		}
		required, words := ruleWords(f.Tag.Get("validate"), f.Type)
		if text := TextKind(f.Tag.Get("text")).words(); text != "" {
			words = strings.TrimPrefix(words+", "+text, ", ")
		}
		*into = append(*into, Field{
			Path:     join(path, name),
			Kind:     kindName(f.Type),
			Required: required,
			Rules:    words,
			Doc:      f.Tag.Get("doc"),
		})
		inner := deref(f.Type)
		if inner.Kind() == reflect.Struct && !reflect.PointerTo(inner).Implements(unmarshaler) {
			describe(join(path, name), inner, into)
		}
	}
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// ruleWords puts the rules of a validate tag into words.
func ruleWords(tag string, t reflect.Type) (required bool, words string) {
	var low, high string
	var more []string
	for _, rule := range strings.Split(tag, ",") {
		if rule == "dive" {
			break // the rules after it apply to the entries
		}
		name, param, _ := strings.Cut(rule, "=")
		switch name {
		case "required":
			required = true
		case "min":
			low = param
		case "max":
			high = param
		case "oneof":
			more = append(more, "one of "+strings.ReplaceAll(param, " ", ", "))
		}
	}
	unit := ""
	switch deref(t).Kind() {
	case reflect.String:
		unit = " characters"
	case reflect.Slice, reflect.Map:
		unit = " entries"
	}
	switch {
	case low != "" && high != "":
		more = append(more, low+" to "+high+unit)
	case low != "":
		more = append(more, "at least "+low+unit)
	case high != "":
		more = append(more, "at most "+high+unit)
	}
	return required, strings.Join(more, ", ")
}

// Set puts one value given as text (--set path=value) into doc, the JSON object
// of a payload of p's type. A text field takes the value as it is. Any other field
// takes it as JSON if it is valid JSON, and as text if not.
func Set(p any, doc map[string]any, path, value string) error {
	segments := strings.Split(path, ".")
	t := reflect.TypeOf(p)
	for i, segment := range segments {
		if segment == "" {
			return fmt.Errorf("--set %s: the path has an empty part", path)
		}
		t = member(t, segment)
		if i == len(segments)-1 {
			doc[segment] = convert(t, value)
			return nil
		}
		inner, ok := doc[segment].(map[string]any)
		if !ok {
			if doc[segment] != nil {
				return fmt.Errorf("--set %s: %s is not an object", path, strings.Join(segments[:i+1], "."))
			}
			inner = map[string]any{}
			doc[segment] = inner
		}
		doc = inner
	}
	return nil
}

// textMembers is implemented by types with their own JSON form whose members are
// all text, so that Set does not turn a phone number into a JSON number.
var textMembers = reflect.TypeFor[interface{ TextMembers() }]()

// member returns the type of a field, or nil if the type does not fix it.
func member(t reflect.Type, name string) reflect.Type {
	if t == nil {
		return nil
	}
	t = deref(t)
	if reflect.PointerTo(t).Implements(textMembers) {
		return reflect.TypeFor[string]()
	}
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	for f := range t.Fields() {
		if f.Anonymous {
			if found := member(f.Type, name); found != nil {
				return found
			}
		} else if jsonName(f) == name {
			return f.Type
		}
	}
	return nil
}

func convert(t reflect.Type, value string) any {
	if t != nil && deref(t).Kind() == reflect.String {
		return value
	}
	if !json.Valid([]byte(value)) {
		return value
	}
	var parsed any
	if err := decodeKeepingNumbers([]byte(value), reflect.ValueOf(&parsed).Elem()); err != nil {
		return value
	}
	return parsed
}
