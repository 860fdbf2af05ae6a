package clients

import (
	"context"
	"errors"

	"errand.internal/internal/admission"
)

// BlockedError returns the Error for a call that was not made: it was not admitted, or
// there is no token for it. It is Blocked, and wraps the *admission.Blocked that says by
// what; any other cause is Temporary. NotSent is true; a caller to whom the vendor has
// already answered once resets it.
func BlockedError(vendor, op string, err error) *Error {
	e := &Error{
		Vendor:  vendor,
		Op:      op,
		Kind:    Temporary,
		Message: "not called: nobody could say whether it may be", // the text of err may not be safe to show
		NotSent: true,
	}
	if blocked, ok := errors.AsType[*admission.Blocked](err); ok {
		e.Kind = Blocked
		e.Message = "not called"
		e.RetryAfter = blocked.RetryAfter
		e.Err = blocked
		if cause, ok := AsError(blocked.Err); ok { // what the login was answered with
			e.Status = cause.Status
			e.Code = cause.Code
		}
		return e
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			e.Message = "stopped while waiting to be admitted"
			e.Err = cause
		}
	}
	return e
}
