package payload

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
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

// fieldRules are the rules of one field of a struct.
type fieldRules struct {
	index int
	name  string // "" for an embedded struct, whose fields are the struct's own
	rules []rule
}

// rulesOf are the rules of a struct's fields. They are read once, because every task is
// checked. A rule that there is not panics: the tag is part of the program.
func rulesOf(t reflect.Type) []fieldRules {
	if known, ok := rulesByType.Load(t); ok {
		return known.([]fieldRules)
	}
	var list []fieldRules
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.Anonymous && !f.IsExported() {
			continue
		}
		name := ""
		if !f.Anonymous {
			if name = jsonName(f); name == "" {
				name = f.Name
			}
		}
		list = append(list, fieldRules{
			index: i,
			name:  name,
			rules: readRules(f),
		})
	}
	rulesByType.Store(t, list)
	return list
}

var rulesByType sync.Map // of []fieldRules by reflect.Type

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
	given    map[string]bool
	problems []Problem
}

func (c *ruleCheck) object(path string, v reflect.Value) {
	for _, f := range rulesOf(v.Type()) {
		at := path
		if f.name != "" {
			at = join(path, f.name)
		}
		c.value(at, v.Field(f.index), f.rules)
	}
}

// value checks the rules of one value. Of several that it breaks, the first is reported.
func (c *ruleCheck) value(path string, v reflect.Value, rules []rule) {
	pointed := false
	for (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && !v.IsNil() {
		pointed = true
		v = v.Elem()
	}
	for i, r := range rules {
		switch {
		case r.name == "omitempty" && !hasValue(v, pointed), r.name == "omitnil" && isNil(v):
			return
		case r.name == "dive":
			c.entries(path, v, rules[i+1:])
			return
		case !r.holds(v, pointed):
			c.problems = append(c.problems, Problem{
				Field: path,
				Rule:  explain(r.name, r.param, v.Kind(), c.given[path]),
			})
			return
		}
	}
	if v.Kind() == reflect.Struct {
		c.object(path, v)
	}
}

// entries checks the rules of each entry of a list or an object.
func (c *ruleCheck) entries(path string, v reflect.Value, rules []rule) {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			c.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i), rules)
		}
	case reflect.Map:
		for key, entry := range v.Seq2() {
			c.value(fmt.Sprintf("%s[%v]", path, key), entry, rules)
		}
	}
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
