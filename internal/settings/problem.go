package settings

import (
	"errors"
	"strings"
)

// Problem is one variable at fault.
type Problem struct {
	Variable string
	Rule     string // what it breaks; never the value of a secret
}

// Error implements error: the variable, a colon and the rule.
func (p Problem) Error() string {
	return p.Variable + ": " + p.Rule
}

// problems reads one line each.
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

// Collect makes one error of many, with one line for each problem, so that an
// operator sees everything that Load and the parts' own checks found. It takes
// errors.Join apart, drops repetitions and gives nil where there is no error.
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
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			all = flatten(all, many.Unwrap())
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
