// Package freecall has what the tasks have in common that call anything of a
// vendor's API: query, body, and whether the call may be repeated.
package freecall

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"errand.internal/clients"
	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
)

// Query is the query of a free call: one value for each name, or a list of
// values. A value is text, a number (sent as it was written), true or false.
type Query map[string]any

// Values returns the query as a URL carries it.
func (q Query) Values() url.Values {
	values := url.Values{}
	for name, given := range q {
		values[name], _ = queryTexts(given)
	}
	return values
}

// Check returns the problems of the query, which is the payload's field of that
// name.
func (q Query) Check(field string) []payload.Problem {
	var found []payload.Problem
	for name, given := range q {
		if _, ok := queryTexts(given); !ok || name == "" {
			found = append(found, payload.Problem{
				Field: field + "." + name,
				Rule:  "must be text, a number, true or false, or a list of those",
			})
		}
	}
	return found
}

// queryTexts returns the values of one name.
func queryTexts(given any) ([]string, bool) {
	raw, err := json.Marshal(given) // a producer may use any Go type
	if err != nil {
		return nil, false
	}
	items := []json.RawMessage{raw}
	if raw[0] == '[' && json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	texts := make([]string, len(items))
	for i, item := range items {
		text, ok := ScalarText(item)
		if !ok {
			return nil, false
		}
		texts[i] = text
	}
	return texts, true
}

// ScalarText returns the text of a JSON string, number or boolean; ok is false
// for anything else.
func ScalarText(raw json.RawMessage) (text string, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || slices.Contains([]byte("{[n"), raw[0]) {
		return "", false
	}
	if raw[0] == '"' {
		err := json.Unmarshal(raw, &text)
		return text, err == nil
	}
	return string(raw), true
}

// isRead reports whether the method changes nothing.
func isRead(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}

// Redelivery is AtLeastOnce for a call that may be repeated: the payload says so,
// or it says nothing and the method is GET or HEAD.
func Redelivery(idempotent *bool, method string) queue.Redelivery {
	if idempotent != nil && *idempotent || idempotent == nil && isRead(method) {
		return queue.AtLeastOnce
	}
	return queue.AtMostOnce
}

// CheckBody refuses a body where HTTP gives it no meaning.
func CheckBody(method string, body any) []payload.Problem {
	if body == nil || !isRead(method) {
		return nil
	}
	return []payload.Problem{{
		Field: "body",
		Rule:  "must not be given with GET or HEAD",
	}}
}

// BodyJSON returns a free body as it is sent, nil for none. Numbers stay as they
// were written.
func BodyJSON(body any) (json.RawMessage, error) {
	if body == nil {
		return nil, nil
	}
	return clients.EncodeJSON(body)
}
