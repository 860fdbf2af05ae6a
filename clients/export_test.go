package clients

import "net/http"

// StatusTable is the rules in use.
func StatusTable() *[]StatusRule { return &statusRules }

// NewTransport is the transport of a Caller in production.
func NewTransport() *http.Transport { return newTransport(Timeouts{}.WithDefaults()) }
