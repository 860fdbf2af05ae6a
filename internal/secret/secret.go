// Package secret wraps values that must not leak by accident: printing or
// encoding one shows [redacted].
package secret

import (
	"crypto/subtle"
	"fmt"
)

// Redacted is printed instead of a secret.
const Redacted = "[redacted]"

// String is a text that prints, encodes and logs as [redacted]. Only Reveal
// returns it.
type String struct{ value string }

// New wraps a plain text.
func New(value string) String {
	return String{value}
}

// Reveal returns the plain text. Call it where the value is sent to the server
// that needs it, never for a log line or an error.
func (s String) Reveal() string {
	return s.value
}

// Empty reports whether there is no value.
func (s String) Empty() bool {
	return s.value == ""
}

// Equal compares the values in constant time.
func (s String) Equal(other string) bool {
	return subtle.ConstantTimeCompare([]byte(s.value), []byte(other)) == 1
}

// String implements fmt.Stringer.
func (s String) String() string {
	if s.value == "" {
		return ""
	}
	return Redacted
}

// Format implements fmt.Formatter, so that no verb (%v, %+v, %#v, %q, %x)
// reaches the value.
func (s String) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(s.String()))
}

// MarshalText implements encoding.TextMarshaler, which JSON and YAML use too.
func (s String) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler, for settings.
func (s *String) UnmarshalText(text []byte) error {
	s.value = string(text)
	return nil
}
