package payload

import (
	"reflect"
	"strings"
)

// Check cleans the texts of a payload that was not decoded, as their tags say, and checks
// its rules. p itself does not change.
func Check[T any](p T) (T, []Problem) {
	v := reflect.New(reflect.TypeOf(p)).Elem()
	v.Set(reflect.ValueOf(p))
	c := cleaner{pass: newPass(nil)}
	c.value("", v)
	clean := v.Interface().(T)
	return clean, merge(c.problems, validate(v, clean, nil, c.path))
}

// validate checks the rules of a payload: of the struct v, and those that p has as a
// Checker. raw is what the payload was decoded from; nil if it was not. path is room for one.
func validate(v reflect.Value, p any, raw []byte, path []step) []Problem {
	rules := ruleCheck{pass: pass{path: path[:0]}, raw: raw}
	if v = reflect.Indirect(v); v.Kind() == reflect.Struct {
		rules.object(v)
	}
	problems := rules.problems
	if c, ok := p.(Checker); ok {
		problems = append(problems, c.Check()...)
	}
	return problems
}

// explain puts a rule into words.
func explain(tag, param string, kind reflect.Kind, given bool) string {
	switch tag {
	case "required":
		switch {
		case !given:
			return "is required"
		case counted(kind):
			return "must not be empty"
		}
		return "must not be 0"
	case "min":
		return bound(kind) + " at least " + count(param, kind)
	case "max":
		return bound(kind) + " at most " + count(param, kind)
	}
	return "must be one of " + strings.ReplaceAll(param, " ", ", ")
}

// bound is the verb of a rule that bounds a field of that kind.
func bound(kind reflect.Kind) string {
	if counted(kind) {
		return "must have"
	}
	return "must be"
}
