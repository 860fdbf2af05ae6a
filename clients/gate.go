package clients

import (
	"context"
	"errors"

	"errand.internal/internal/tokens"
)

// GateError returns the Error for a call that a tokens.Gate refused: Credentials
// while the gate is closed after a refusal, otherwise Temporary. what names the
// credential in the message, for example "the login". Nothing was sent. The Error
// wraps the error of package tokens.
func GateError(vendor, op, what string, err error) *Error {
	e := &Error{
		Vendor:  vendor,
		Op:      op,
		Kind:    Temporary,
		NotSent: true,
	}
	if cooling, ok := errors.AsType[*tokens.CoolingError](err); ok {
		e.Kind = Credentials
		e.Message = what + " was refused recently; the next try has to wait"
		e.RetryAfter = cooling.RetryAfter
		e.Err = cooling
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
		e.Message = what + " cannot be used now" // the text of err may not be safe to show
	}
	return e
}
