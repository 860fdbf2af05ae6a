package payload

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Field describes one field of a payload.
type Field struct {
	Path     string // "messengerFilters.status"
	Kind     string // "text", "integer", ...
	Required bool
	Rules    string // "1 to 3200"
	Doc      string
}

// Describe lists the fields of a payload in their order.
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
		*into = append(*into, Field{
			Path:     join(path, name),
			Kind:     kindName(f.Type),
			Required: required,
			Rules:    words,
			Doc:      f.Tag.Get("doc"),
		})
		if inner := deref(f.Type); inner.Kind() == reflect.Struct &&
			!reflect.PointerTo(inner).Implements(unmarshaler) {
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

func ruleWords(tag string, t reflect.Type) (required bool, words string) {
	var low, high string
	var more []string
	for _, rule := range strings.Split(tag, ",") {
		if rule == "dive" {
			break // what follows is about the entries
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
// of a payload of p's type. The text is read as the field's type wants it: a
// text field takes it as it is, any other takes it as JSON if it is some.
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
				return fmt.Errorf(
					"--set %s: %s is not an object",
					path,
					strings.Join(segments[:i+1], "."),
				)
			}
			inner = map[string]any{}
			doc[segment] = inner
		}
		doc = inner
	}
	return nil
}

// texts marks a type of its own JSON form whose members are all text, so that
// Set does not make a number of a telephone's.
var texts = reflect.TypeFor[interface{ TextMembers() }]()

// member is the type of a field, nil where the type leaves it open.
func member(t reflect.Type, name string) reflect.Type {
	if t == nil {
		return nil
	}
	t = deref(t)
	if reflect.PointerTo(t).Implements(texts) {
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
	if t != nil {
		t = deref(t)
		if t.Kind() == reflect.String {
			return value
		}
	}
	var parsed any
	if err := decodeInto([]byte(value), reflect.ValueOf(&parsed).Elem()); err == nil &&
		json.Valid([]byte(value)) {
		return parsed
	}
	return value
}
