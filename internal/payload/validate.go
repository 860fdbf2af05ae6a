package payload

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// embedded is the name of an embedded struct in the validator's field paths.
const embedded = "~"

var rules = newValidator()

func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		if f.Anonymous {
			return embedded
		}
		return jsonName(f)
	})
	return v
}

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
	var problems []Problem
	err := rules.Struct(p)
	if faults, ok := errors.AsType[validator.ValidationErrors](err); ok {
		for _, f := range faults {
			_, path, _ := strings.Cut(f.Namespace(), ".")
			path = strings.ReplaceAll(path, embedded+".", "")
			problems = append(problems, Problem{
				Field: path,
				Rule:  explain(f.Tag(), f.Param(), f.Kind(), given[path]),
			})
		}
	} else if err != nil {
		problems = append(problems, Problem{Rule: err.Error()})
	}
	if c, ok := p.(Checker); ok {
		problems = append(problems, c.Check()...)
	}
	return problems
}

// explain puts a rule of the validator into words.
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
	case "oneof":
		return "must be one of " + strings.ReplaceAll(param, " ", ", ")
	}
	return fmt.Sprintf("breaks the rule %s", strings.TrimSuffix(tag+"="+param, "="))
}

// bound is the verb of a rule that bounds a field of that kind.
func bound(kind reflect.Kind) string {
	if counted(kind) {
		return "must have"
	}
	return "must be"
}
