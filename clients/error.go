// Package clients is the kit that every vendor client is built from: one way to send
// a request (Caller, Bearer), one interpretation of HTTP statuses (StatusError) and
// one typed error (Error).
//
// A client makes a call once, plus at most one replay with a fresh token. All other
// retries belong to the queue, which decides by Error.Kind.
package clients

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what to do about a call that did not succeed.
type Kind uint8

// The kinds. Unknown is the zero value, because the effect of a call that is not
// classified may have happened.
const (
	// Unknown means that the effect may have happened. A repeatable task is retried;
	// any other ends with the outcome unknown.
	Unknown Kind = iota
	// Temporary means that nothing was done; try again later.
	Temporary
	// Blocked means not now: the call was refused before it ran, by the vendor or by
	// what this side knows of it (admission.Blocked); try again after RetryAfter.
	Blocked
	// Credentials means that the vendor refuses the account, its rights or its
	// configuration; tasks are parked until that is fixed.
	Credentials
	// Invalid means that the request itself is wrong; a retry cannot help.
	Invalid
	// Declined means that the vendor took a valid request and finally said no.
	Declined
	// Failed means that the vendor took the request, tried, and reports failure. A
	// repeatable task is retried; any other ends failed.
	Failed
)

// Kinds are all kinds.
var Kinds = []Kind{
	Unknown,
	Temporary,
	Blocked,
	Credentials,
	Invalid,
	Declined,
	Failed,
}

var kindNames = [...]string{
	"unknown",
	"temporary",
	"blocked",
	"credentials",
	"invalid",
	"declined",
	"failed",
}

// String returns the kind's name, which also labels metrics and attempts.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Error is what a vendor client returns for every call that did not succeed. It
// contains no vendor prose, secret, personal data or full URL: Message is always
// Errand's own text.
type Error struct {
	Vendor string // "danaconnect"
	Op     string // "otp send"
	Kind   Kind
	// Status is the HTTP status, 0 if no answer came.
	Status int
	// Code is the vendor's own code as received, "" if there was none.
	Code string
	// Message says what happened, in Errand's own words.
	Message string
	// RetryAfter is the shortest wait before the next try; 0 leaves it to the
	// task's policy.
	RetryAfter time.Duration
	// NotSent says that no byte of the request can have reached the vendor.
	NotSent bool
	// Final says, with Failed, that no retry can help, not even of a repeatable task.
	Final bool
	// Unlisted says that the vendor's pages do not list this status or code, so Kind
	// is the safe default. The queue counts these, so that operators see them.
	Unlisted bool
	// Err is the cause, if its text is safe to show.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Vendor)
	if e.Op != "" {
		b.WriteString(" " + e.Op)
	}
	b.WriteString(": ")
	if e.Message != "" {
		b.WriteString(e.Message)
	} else {
		b.WriteString(e.Kind.String())
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d", e.Status)
		if e.Code != "" {
			fmt.Fprintf(&b, ", code %s", e.Code)
		}
		b.WriteString(")")
	} else if e.Code != "" {
		fmt.Fprintf(&b, " (code %s)", e.Code)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error {
	return e.Err
}

// LoginFault says what happened, with the status, for whoever has no token because of
// it. Like RetryAfterHint it is for internal/tokens.
func (e *Error) LoginFault() string {
	said := Error{
		Kind:    e.Kind,
		Status:  e.Status,
		Code:    e.Code,
		Message: e.Message,
	}
	return strings.TrimPrefix(said.Error(), ": ")
}

// RetryAfterHint passes a login's Retry-After to internal/tokens, which does not
// import this package.
func (e *Error) RetryAfterHint() time.Duration {
	return e.RetryAfter
}

// InvalidRequest returns the Error for a request that is itself wrong and was
// therefore not sent. message quotes nothing of the request.
func InvalidRequest(vendor, op, message string) *Error {
	return &Error{
		Vendor:  vendor,
		Op:      op,
		Kind:    Invalid,
		Message: message,
		NotSent: true,
	}
}

// AsError returns the *Error in err's chain.
func AsError(err error) (*Error, bool) {
	return errors.AsType[*Error](err)
}
