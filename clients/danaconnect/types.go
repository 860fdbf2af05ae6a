package danaconnect

import (
	"bytes"
	"encoding/json"
	"strings"

	"errand.internal/clients"
)

// Answer is what the vendor answered. It may hold prose and personal data, so it
// belongs in a result and not in a log.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Body is the vendor's JSON; nil if there is none or it is invalid.
	Body json.RawMessage
}

// NewAnswer keeps the status and the vendor's JSON of a.
func NewAnswer(a *clients.Answer) Answer {
	body := bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf")))
	if a.Incomplete || !json.Valid(body) {
		return Answer{Status: a.Status}
	}
	return Answer{Status: a.Status, Body: body}
}

// IsID reports whether id is a positive integer that fits the vendor's ids, so
// that it can be sent as a JSON integer or as part of a path.
func IsID(id string) bool {
	return id != "" && len(id) <= 19 && id[0] != '0' &&
		strings.Trim(id, "0123456789") == ""
}

// Unsendable returns the error of a request that can never be sent.
func Unsendable(op, message string) *clients.Error {
	return &clients.Error{
		Vendor:  Vendor,
		Op:      op,
		Kind:    clients.Invalid,
		Message: message,
		NotSent: true,
	}
}
