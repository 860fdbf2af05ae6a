package payload

import (
	"reflect"
	"strings"
)

// Check is Clean and Validate for a payload that was not decoded.
func Check[T any](p T) (T, []Problem) {
	clean, problems := Clean(p)
	reported := map[string]bool{}
	for _, problem := range problems {
		reported[problem.Field] = true
	}
	for _, problem := range Validate(clean, nil) {
		if !reported[problem.Field] {
			problems = append(problems, problem)
		}
	}
	return clean, problems
}

// Validate checks the rules of a decoded payload. given, if not nil, holds the
// paths of the fields that were present.
func Validate(p any, given map[string]bool) []Problem {
	rules := ruleCheck{given: given}
	if v := reflect.Indirect(reflect.ValueOf(p)); v.Kind() == reflect.Struct {
		rules.object("", v)
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
