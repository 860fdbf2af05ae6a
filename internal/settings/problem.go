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

// CollectAfter is Collect for a Load and the checks of what it has read. It leaves
// out what the checks say about a variable that Load has refused: its field does
// not hold what the operator wrote, so the check is about nothing.
func CollectAfter(loaded error, checks ...error) error {
	var rest []error
	for _, err := range flatten(nil, checks) {
		variable, _, found := strings.Cut(err.Error(), ": ")
		if !found || !Refused(loaded, variable) {
			rest = append(rest, err)
		}
	}
	return Collect(append([]error{loaded}, rest...)...)
}

// Refused reports whether the error of a Load is about a variable, or about the
// file that holds its value.
func Refused(loaded error, variable string) bool {
	for _, err := range flatten(nil, []error{loaded}) {
		p, ok := errors.AsType[Problem](err)
		if ok && (p.Variable == variable || p.Variable == variable+fileSuffix) {
			return true
		}
	}
	return false
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
