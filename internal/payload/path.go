package payload

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// step is one step of a path: to a member of an object or to an entry of a list.
type step struct {
	name  string
	index int // of the entry; -1 for a member
}

func (s step) isEntry() bool {
	return s.index >= 0
}

// parsePath parses a path such as body.ProductLines[0].Quantity.
func parsePath(path string) ([]step, error) {
	var steps []step
	for segment := range strings.SplitSeq(path, ".") {
		name, indexes, indexed := strings.Cut(segment, "[")
		if name == "" {
			return nil, errors.New("the path has an empty part")
		}
		steps = append(steps, step{name: name, index: -1})
		if strings.Contains(name, "]") || indexed && !strings.HasSuffix(indexes, "]") {
			return nil, errBadIndex
		}
		if !indexed {
			continue
		}
		for text := range strings.SplitSeq(strings.TrimSuffix(indexes, "]"), "][") {
			index, err := strconv.ParseUint(text, 10, 31)
			if err != nil || strconv.FormatUint(index, 10) != text {
				return nil, errBadIndex
			}
			steps = append(steps, step{index: int(index)})
		}
	}
	return steps, nil
}

var errBadIndex = errors.New("an entry of a list must be written name[0]")

// formatPath is the reverse of parsePath.
func formatPath(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		switch {
		case s.isEntry():
			fmt.Fprintf(&b, "[%d]", s.index)
		case i > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	return b.String()
}

// place is where a path leads in a payload.
type place struct {
	t reflect.Type // nil if the payload does not fix it
	// open: the value may have another type than t.
	open bool
}

// textMembers is implemented by types with their own JSON form whose members are
// all text, so that a phone number does not become a JSON number.
var textMembers = reflect.TypeFor[interface{ TextMembers() }]()

// textMember is implemented by open objects that have some members which are text.
type textMember interface{ TextMember(name string) bool }

var text = reflect.TypeFor[string]()

// find follows a path; known is false if it leads to no field.
func find(p any, steps []step) (at place, known bool) {
	at = place{t: reflect.TypeOf(p)}
	for _, s := range steps {
		if at, known = at.follow(s); !known {
			return place{}, false
		}
	}
	return at, true
}

func (p place) follow(s step) (place, bool) {
	if p.t == nil {
		return place{open: true}, true
	}
	t := deref(p.t)
	switch {
	case t.Kind() == reflect.Interface:
		return place{open: true}, true
	case s.isEntry():
		if t.Kind() != reflect.Slice {
			return place{}, false
		}
		return place{t: t.Elem()}, true
	case reflect.PointerTo(t).Implements(textMembers):
		open := t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Interface
		return place{t: text, open: open}, true
	case t.Kind() == reflect.Map:
		if some, ok := reflect.Zero(t).Interface().(textMember); ok && some.TextMember(s.name) {
			return place{t: text}, true
		}
		if t.Elem().Kind() == reflect.Interface {
			return place{open: true}, true
		}
		return place{t: t.Elem()}, true
	case t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler):
		return place{}, false
	}
	field := fieldNamed(t, s.name)
	return place{t: field, open: field != nil && field.Kind() == reflect.Interface}, field != nil
}

// fieldNamed returns the type of a struct's field, nil if there is none of the name.
func fieldNamed(t reflect.Type, name string) reflect.Type {
	for f := range t.Fields() {
		if f.Anonymous {
			if found := fieldNamed(f.Type, name); found != nil {
				return found
			}
		} else if jsonName(f) == name {
			return f.Type
		}
	}
	return nil
}

// assign returns at with a value at the end of the path, and makes the objects and
// lists on the way. done is the part of the path that leads to at.
func assign(at any, done, rest []step, value any) (any, error) {
	if len(rest) == 0 {
		return value, nil
	}
	next := rest[0]
	done = append(done, next)
	if next.isEntry() {
		list, isList := at.([]any)
		switch {
		case at != nil && !isList:
			return nil, fmt.Errorf("%s is not a list", formatPath(done[:len(done)-1]))
		case next.index > len(list):
			return nil, fmt.Errorf("%s[%d] is missing", formatPath(done[:len(done)-1]), len(list))
		case next.index == len(list):
			list = append(list, nil)
		}
		inner, err := assign(list[next.index], done, rest[1:], value)
		if err == nil {
			list[next.index] = inner
		}
		return list, err
	}
	object, isObject := at.(map[string]any)
	if at != nil && !isObject {
		return nil, fmt.Errorf("%s is not an object", formatPath(done[:len(done)-1]))
	}
	if object == nil {
		object = map[string]any{}
	}
	inner, err := assign(object[next.name], done, rest[1:], value)
	if err == nil {
		object[next.name] = inner
	}
	return object, err
}
