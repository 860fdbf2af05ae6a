package api

import (
	"encoding/json"
	"net/url"
)

// Start starts a conversation for one contact.
type Start struct {
	// IDConversation is the id of the conversation's activation; a reactivated
	// conversation gets a new one. IDProject is the id of its project, which stays.
	// Exactly one of the two is set, in digits.
	IDConversation, IDProject string
	// Data holds the contact's fields, by field code.
	Data map[string]any
}

// Request is a free call of API 2.0.
type Request struct {
	// Method is GET, HEAD, POST, PUT, PATCH or DELETE.
	Method string
	// Path lies below the base URL and is escaped as in a URL.
	Path  string
	Query url.Values
	// Body is JSON, nil for none.
	Body json.RawMessage
	// Once keeps net/http from sending even a GET or HEAD again.
	Once bool
}
