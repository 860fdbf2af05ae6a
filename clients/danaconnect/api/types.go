package api

import (
	"encoding/json"
	"errors"
	"net/url"

	"errand.internal/clients/danaconnect"
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

// path returns the path that starts the conversation.
func (s Start) path() (string, error) {
	prefix := "rest/conversation/"
	id := s.IDConversation
	if id == "" {
		prefix = "rest/conversation/ProjectID/"
		id = s.IDProject
	}
	switch {
	case (s.IDConversation == "") == (s.IDProject == ""):
		return "", errors.New("one of idConversation and idProject is needed")
	case !danaconnect.IsID(id):
		return "", errors.New("the id must be a whole number above 0")
	}
	return prefix + id + "/start/data", nil
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
}
