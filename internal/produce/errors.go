package produce

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"errand.internal/internal/redisconn"
	"errand.internal/tasks"
)

// Refused reports whether the input is to blame for an error.
func Refused(err error) bool {
	_, invalid := errors.AsType[*tasks.PayloadError](err)
	return invalid || errors.Is(err, tasks.ErrKeyConflict)
}

// Unavailable reports whether Redis could not be reached, or could not store the task:
// the same request may succeed later. Every UnconfirmedError counts: between the two
// steps of storing a task, asynq reports its errors only as text.
func Unavailable(err error) bool {
	if _, unconfirmed := errors.AsType[*tasks.UnconfirmedError](err); unconfirmed {
		return true
	}
	if _, full := errors.AsType[*tasks.FullError](err); full {
		return true
	}
	// go-redis has no error value for a server that is not Redis.
	return redisconn.NotNow(err) || strings.Contains(err.Error(), "redis: can't parse")
}

// Lines returns the problems of a payload, each with its field and rule.
func Lines(invalid *tasks.PayloadError) []string {
	var lines []string
	for _, p := range invalid.Problems {
		if p.Field == "" {
			lines = append(lines, p.Rule)
			continue
		}
		lines = append(lines, p.Field+" "+p.Rule)
	}
	return lines
}

// PanicError is a recovered panic.
type PanicError struct{ Value any }

// Error describes the panic. Its value may hold personal data, so the text is shown
// only if the panic comes from the Go runtime.
func (e *PanicError) Error() string {
	if fromRuntime, ok := e.Value.(runtime.Error); ok {
		return "internal error, please report it: " + fromRuntime.Error()
	}
	return fmt.Sprintf("internal error, please report it: panic of type %T", e.Value)
}

// RecoverPanic turns a panic into an error. It must be deferred.
func RecoverPanic(err *error) {
	if value := recover(); value != nil {
		*err = &PanicError{Value: value}
	}
}
