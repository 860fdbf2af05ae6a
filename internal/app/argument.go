package app

import "fmt"

// ArgumentError says that a command was given what there is not. The settings are in order.
type ArgumentError struct{ Problem string }

// Error implements error.
func (e *ArgumentError) Error() string {
	return e.Problem
}

func argumentf(format string, args ...any) error {
	return &ArgumentError{Problem: fmt.Sprintf(format, args...)}
}
