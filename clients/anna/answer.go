package anna

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"errand.internal/clients"
)

// reply is the body of any answer. Every field stays raw until it is needed, so
// that one field of an unexpected type does not hide the others.
type reply struct {
	status int
	object bool // the body is one complete JSON object

	Success json.RawMessage `json:"success"`
	Message json.RawMessage `json:"message"`

	Data         json.RawMessage `json:"data"`         // GetToken
	AccessData   json.RawMessage `json:"accessData"`   // UserHash, UserHashForced
	AlertCounter json.RawMessage `json:"alertCounter"` // AlertCounter
	Structure    json.RawMessage `json:"structure"`
	UserRequests json.RawMessage `json:"userRequests"`  // Requests
	Link         json.RawMessage `json:"messengerLink"` // Link
}

// classify decodes an answer and compares its body with its status. why explains
// an Unreadable answer.
func classify(a *clients.Answer) (r reply, seen Observation, why string) {
	if err := clients.DecodeObject(a, &r); err != nil {
		r = reply{}
		why = err.Error()
	}
	r.status = a.Status
	r.object = why == ""
	success := string(r.Success)
	switch {
	case a.Status >= http.StatusInternalServerError && success == "true":
		return r, Contradicted, ""
	case a.Status == http.StatusServiceUnavailable && success == "false":
		return r, NotDone, ""
	case a.Status < http.StatusOK || a.Status >= http.StatusMultipleChoices:
		return r, byStatus, ""
	case success == "true":
		return r, succeeded, ""
	case success == "false":
		return r, Refused, ""
	case why == "":
		why = "success is missing or no boolean"
	}
	return r, Unreadable, why
}

// interpret turns an answer into the operation's result; a nil error means
// success.
func (c *Client) interpret(op operation, a *clients.Answer, alreadyDone func(reply) bool) (reply, error) {
	r, seen, why := classify(a)
	switch seen {
	case succeeded:
		return r, nil
	case Refused:
		if alreadyDone != nil && alreadyDone(r) {
			return r, nil
		}
		return reply{}, c.answerError(op.name, a.Status, op.refused)
	case Unreadable:
		rule := op.unreadable
		rule.Message += ": " + why
		return reply{}, c.answerError(op.name, a.Status, rule)
	case Contradicted:
		return reply{}, c.answerError(op.name, a.Status, contradicted)
	case NotDone:
		return reply{}, c.answerError(op.name, a.Status, notDone.after(a))
	default:
		return reply{}, clients.StatusError(c.caller.Vendor(), op.name, a)
	}
}

// after returns the rule with the answer's Retry-After.
func (r answerRule) after(a *clients.Answer) answerRule {
	r.RetryAfter = cmp.Or(clients.RetryAfter(a.Header, clients.MaxRetryAfter), r.RetryAfter)
	return r
}

// answerError never carries the vendor's message, which contains the company
// hash and the user.
func (e endpoint) answerError(op string, status int, rule answerRule) *clients.Error {
	return &clients.Error{
		Vendor:     e.caller.Vendor(),
		Op:         op,
		Kind:       rule.Kind,
		Status:     status,
		Message:    rule.Message,
		RetryAfter: rule.RetryAfter,
	}
}

// accessData reads a login. All three keys must be present, but only Hash must
// not be empty. An unreadable Expires never discards the login.
func (c *Client) accessData(r reply) (AccessData, bool) {
	var raw struct {
		Hash        *string
		ChatURL     *string
		EmbeddedURL *string
		Expires     json.RawMessage
	}
	if clients.DecodeMembers(r.AccessData, &raw) != nil {
		return AccessData{}, false
	}
	if raw.Hash == nil || *raw.Hash == "" || raw.ChatURL == nil || raw.EmbeddedURL == nil {
		return AccessData{}, false
	}
	access := AccessData{
		Hash:        *raw.Hash,
		ChatURL:     *raw.ChatURL,
		EmbeddedURL: *raw.EmbeddedURL,
		Expires:     scalarText(raw.Expires),
	}
	access.ExpiresAt, _ = parseTimestamp(strings.TrimSpace(access.Expires), c.zone)
	return access, true
}

// alertCounter reads the count, which must be a JSON integer and not negative.
func alertCounter(r reply) (int, bool) {
	n, err := strconv.ParseUint(string(r.AlertCounter), 10, strconv.IntSize-1)
	return int(n), err == nil
}

// structure reads the company's structure, a JSON object.
func structure(r reply) (json.RawMessage, bool) {
	return startingWith('{', r.Structure)
}

// requestList reads the user's requests, a JSON array.
func requestList(r reply) (json.RawMessage, bool) {
	return startingWith('[', r.UserRequests)
}

func startingWith(first byte, raw json.RawMessage) (json.RawMessage, bool) {
	if len(raw) == 0 || raw[0] != first {
		return nil, false
	}
	return raw, true
}

// link reads the messenger link, a string that is not empty.
func link(r reply) (Link, bool) {
	var text string
	if clients.DecodeMembers(r.Link, &text) != nil || text == "" {
		return Link{}, false
	}
	return Link{MessengerLink: text}, true
}

// saysAlreadyInactive reports whether the vendor's message contains one of the
// texts of ANNA_ALREADY_INACTIVE.
func (c *Client) saysAlreadyInactive(r reply) bool {
	var message string
	if json.Unmarshal(r.Message, &message) != nil {
		return false
	}
	message = strings.ToLower(message)
	for _, text := range c.alreadyInactive {
		if strings.Contains(message, text) {
			return true
		}
	}
	return false
}

// scalarText returns the text of a JSON string, or the literal of another
// scalar. It is empty for null, a missing field, an object and an array.
func scalarText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	return string(raw)
}
