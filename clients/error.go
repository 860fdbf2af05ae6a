// Package clients holds what every vendor client obeys: one call path
// (Caller), one reading of HTTP statuses (StatusError) and one typed error.
//
// A client calls once, plus at most one replay with a fresh token. Every other
// retry belongs to the queue, which reads Error.Kind to know what to do.
package clients

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind answers "what now?" for a call that did not simply succeed.
type Kind uint8

// The kinds. Unknown is the zero value: what nobody classified may have
// happened.
const (
	// Unknown: the effect may have happened. A repeatable task runs again, any
	// other ends with the outcome unknown.
	Unknown Kind = iota
	// Temporary: surely not done; try again later.
	Temporary
	// RateLimited: refused before it ran; try again after RetryAfter.
	RateLimited
	// Credentials: the account, its rights or its set-up are refused; tasks are
	// parked until somebody mends it.
	Credentials
	// Invalid: the request itself is wrong; running it again cannot help.
	Invalid
	// Declined: the vendor's final, valid "no".
	Declined
	// Failed: the vendor took the request, tried, and says that it failed. A
	// repeatable task runs again, any other one ends failed.
	Failed
)

var kindNames = [...]string{
	"unknown",
	"temporary",
	"rate_limited",
	"credentials",
	"invalid",
	"declined",
	"failed",
}

// String returns the word that also labels metrics and attempts.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Error is what a vendor client returns for every call that did not succeed.
// It carries no vendor prose, secret, personal datum or full URL: Message is
// always in Errand's own words.
type Error struct {
	Vendor string // "danaconnect"
	Op     string // "otp send"
	Kind   Kind
	// Status is the HTTP status, 0 if no answer came.
	Status int
	// Code is the vendor's own code as received, "" if there was none.
	Code string
	// Message says in our words what happened.
	Message string
	// RetryAfter is the least wait before the next try, 0 if the policy of the
	// task decides.
	RetryAfter time.Duration
	// NotSent: surely no byte of the request reached the vendor.
	NotSent bool
	// Final, with Failed: no further try can help, not even of a repeatable task.
	Final bool
	// Unlisted: the vendor's pages do not list this status or code, so Kind is the
	// safe default. Somebody should look; the queue counts it.
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

// Unwrap gives the cause.
func (e *Error) Unwrap() error {
	return e.Err
}

// RetryAfterHint is how a login's Retry-After reaches internal/tokens, which
// does not know this package.
func (e *Error) RetryAfterHint() time.Duration {
	return e.RetryAfter
}

// InvalidRequest returns the Error for a request that cannot be sent because it
// is wrong in itself. message quotes nothing of the request.
func InvalidRequest(vendor, op, message string) *Error {
	return &Error{
		Vendor:  vendor,
		Op:      op,
		Kind:    Invalid,
		Message: message,
		NotSent: true,
	}
}

// AsError finds the *Error in err's chain.
func AsError(err error) (*Error, bool) {
	return errors.AsType[*Error](err)
}
