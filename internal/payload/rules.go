package payload

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"errand.internal/internal/strictjson"
)

// rule is one rule of a validate tag. The tags are read as go-playground/validator reads
// them. They are checked here because its own check keeps every method of every type in
// the binary (it calls some by name), which costs a producer a third of its size.
type rule struct {
	name  string
	param string
	bound int64    // of min and max
	words []string // of oneof
}

// readRules reads the tag of a field.
func readRules(f reflect.StructField) []rule {
	tag := f.Tag.Get("validate")
	if tag == "" {
		return nil
	}
	var list []rule
	for text := range strings.SplitSeq(tag, ",") {
		var r rule
		var err error
		r.name, r.param, _ = strings.Cut(text, "=")
		switch r.name {
		case "required", "omitempty", "omitnil", "dive":
		case "min", "max":
			r.bound, err = strconv.ParseInt(r.param, 10, 64)
		case "oneof":
			r.words = strings.Fields(r.param)
		default:
			err = fmt.Errorf("there is no rule %q", r.name)
		}
		if err != nil {
			panic(fmt.Sprintf("payload: the tag of %s: %v", f.Name, err))
		}
		list = append(list, r)
	}
	return list
}

// ruleCheck checks the rules of a payload.
type ruleCheck struct {
	pass
	raw json.RawMessage // that it was decoded from; nil if it was not
}

func (c *ruleCheck) object(v reflect.Value) {
	for _, f := range shapeOf(v.Type()).fields {
		if f.name == "" {
			c.value(v.Field(f.index), f.rules)
			continue
		}
		c.enter(f.name)
		c.value(v.Field(f.index), f.rules)
		c.leave()
	}
}

// value checks the rules of one value. Of several that it breaks, the first is reported.
// A free body, an interface, has no rules of its own, whatever its type's tags say.
func (c *ruleCheck) value(v reflect.Value, rules []rule) {
	pointed, open := false, false
	for (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && !v.IsNil() {
		pointed = true
		open = open || v.Kind() == reflect.Interface
		v = v.Elem()
	}
	for i, r := range rules {
		switch {
		case r.name == "omitempty" && !hasValue(v, pointed), r.name == "omitnil" && isNil(v):
			return
		case r.name == "dive":
			c.entries(v, rules[i+1:])
			return
		case !r.holds(v, pointed):
			c.fault(explain(r.name, r.param, v.Kind(), r.name == "required" && given(c.raw, c.path)))
			return
		}
	}
	if v.Kind() == reflect.Struct && !open {
		c.object(v)
	}
}

// entries checks the rules of each entry of a list or an object.
func (c *ruleCheck) entries(v reflect.Value, rules []rule) {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			c.enterEntry(i)
			c.value(v.Index(i), rules)
			c.leave()
		}
	case reflect.Map:
		for key, entry := range v.Seq2() {
			c.enter(key.String())
			c.value(entry, rules)
			c.leave()
		}
	}
}

// given reports whether a JSON text has something at a path.
func given(raw json.RawMessage, path []step) bool {
	for _, s := range path {
		if raw = s.in(raw); raw == nil {
			return false
		}
	}
	return raw != nil
}

// in returns what is one step further in a JSON text; nil if nothing is.
func (s step) in(raw json.RawMessage) json.RawMessage {
	if s.isEntry() {
		if items := strictjson.Items(raw); s.index < len(items) {
			return items[s.index]
		}
		return nil
	}
	for name, value := range strictjson.Members(raw) {
		if string(name) == s.name {
			return value
		}
	}
	return nil
}

// holds reports whether a value keeps the rule.
func (r rule) holds(v reflect.Value, pointed bool) bool {
	switch r.name {
	case "required":
		return hasValue(v, pointed)
	case "min":
		n, ok := measure(v)
		return ok && n >= r.bound
	case "max":
		n, ok := measure(v)
		return ok && n <= r.bound
	case "oneof":
		return v.Kind() == reflect.String && slices.Contains(r.words, v.String())
	}
	return true
}

// measure is what min and max bound: characters, entries, or the value of a number.
func measure(v reflect.Value) (int64, bool) {
	switch v.Kind() {
	case reflect.String:
		return int64(utf8.RuneCountInString(v.String())), true
	case reflect.Slice, reflect.Map, reflect.Array:
		return int64(v.Len()), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), true
	}
	return 0, false
}

// hasValue reports whether something is there: an empty list is, and so is a zero that
// was given (pointed).
func hasValue(v reflect.Value, pointed bool) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface:
		return !v.IsNil()
	}
	return pointed || !v.IsZero()
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface:
		return v.IsNil()
	}
	return false
}
