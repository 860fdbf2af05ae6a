package clients

import (
	"context"
	"errors"

	"errand.internal/internal/tokens"
)

// GateError says why a tokens.Gate did not let a call out: Credentials while
// what it stands for ("the login") rests after a refusal, otherwise Temporary.
// Nothing was sent. It wraps the tokens package's own error.
func GateError(vendor, op, what string, err error) *Error {
	e := &Error{
		Vendor:  vendor,
		Op:      op,
		Kind:    Temporary,
		NotSent: true,
	}
	if cooling, ok := errors.AsType[*tokens.CoolingError](err); ok {
		e.Kind = Credentials
		e.Message = what + " was refused lately and rests"
		e.RetryAfter, e.Err = cooling.RetryAfter, cooling
		return e
	}
	if down, ok := errors.AsType[*tokens.UnavailableError](err); ok {
		e.Message = what + " cannot be used now"
		e.RetryAfter = down.RetryAfter
		e.Err = down
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		e.Message = "cancelled while waiting to use " + what
		e.Err = context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		e.Message = "out of time while waiting to use " + what
		e.Err = context.DeadlineExceeded
	default:
		e.Message = what + " cannot be used now" // the cause's text is not ours
	}
	return e
}
