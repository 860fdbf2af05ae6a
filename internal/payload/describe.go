package payload

import (
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
	kind := deref(t).Kind()
	switch {
	case low != "" && high != "":
		more = append(more, low+" to "+count(high, kind))
	case low != "":
		more = append(more, "at least "+count(low, kind))
	case high != "":
		more = append(more, "at most "+count(high, kind))
	}
	return required, strings.Join(more, ", ")
}

// counted reports whether a rule about a field of that kind bounds how many
// characters or entries it has, not its value.
func counted(kind reflect.Kind) bool {
	return kind == reflect.String || kind == reflect.Slice || kind == reflect.Map
}

// count puts the bound of a field into words: "1 entry", "20 characters", or the
// bare number for a field that is a number.
func count(n string, kind reflect.Kind) string {
	switch {
	case !counted(kind):
		return n
	case kind == reflect.String && n == "1":
		return n + " character"
	case kind == reflect.String:
		return n + " characters"
	case n == "1":
		return n + " entry"
	}
	return n + " entries"
}
