package settings

import (
	"errors"
	"strings"
)

// Problem is a fault of one variable.
type Problem struct {
	Variable string
	Rule     string // the rule it breaks; never quotes a secret
}

// Error implements error: the variable, a colon and the rule.
func (p Problem) Error() string {
	return p.Variable + ": " + p.Rule
}

// problems is an error with one line per problem.
type problems []error

func (p problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, err := range p {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

func (p problems) Unwrap() []error {
	return p
}

// Collect combines errors into one with a line per problem, so that an operator
// sees everything that Load and the packages' own checks found. It flattens
// joined errors, drops duplicates, and returns nil if there is no error.
func Collect(errs ...error) error {
	all := flatten(nil, errs)
	if len(all) == 0 {
		return nil
	}
	return all
}

func flatten(all problems, errs []error) problems {
	for _, err := range errs {
		if err == nil {
			continue
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			all = flatten(all, joined.Unwrap())
			continue
		}
		if !all.has(err) {
			all = append(all, err)
		}
	}
	return all
}

func (p problems) has(err error) bool {
	for _, known := range p {
		if errors.Is(known, err) || known.Error() == err.Error() {
			return true
		}
	}
	return false
}
