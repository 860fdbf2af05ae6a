// Package freecall has the common parts of the tasks that call any endpoint of a
// vendor's API: the query, the body, and whether the call may be repeated.
package freecall

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/payload"
	"errand.internal/internal/strictjson"
)

// Query is the query of a free call. It maps a name to one value or to a list of
// values. A value is text, a number (sent as written), true or false.
type Query map[string]any

// Values returns the query as url.Values.
func (q Query) Values() url.Values {
	values := url.Values{}
	for name, value := range q {
		values[name], _ = queryTexts(value)
	}
	return values
}

// Check returns the problems of the query. field is its name in the payload.
func (q Query) Check(field string) []payload.Problem {
	var problems []payload.Problem
	for name, value := range q {
		if _, ok := queryTexts(value); !ok || name == "" {
			problems = append(problems, payload.Problem{
				Field: field + "." + name,
				Rule:  "must be text, a number, true or false, or a list of those",
			})
		}
	}
	return problems
}

// queryTexts returns the texts of one name's value; ok is false if it is neither a
// scalar nor a list of scalars.
func queryTexts(value any) (texts []string, ok bool) {
	if text, ok := value.(string); ok && utf8.ValidString(text) {
		return []string{text}, true
	}
	raw, err := json.Marshal(value) // a producer may use any Go type
	if err != nil {
		return nil, false
	}
	items := []json.RawMessage{raw}
	if raw[0] == '[' {
		items = strictjson.Items(raw)
	}
	texts = make([]string, len(items))
	for i, item := range items {
		text, ok := ScalarText(item)
		if !ok {
			return nil, false
		}
		texts[i] = text
	}
	return texts, true
}

// ScalarText returns the text of a JSON string, number or boolean, which must be valid; ok
// is false for anything else.
func ScalarText(raw json.RawMessage) (text string, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || slices.Contains([]byte("{[n"), raw[0]) {
		return "", false
	}
	if raw[0] == '"' {
		return strictjson.Text(raw), true
	}
	return string(raw), true
}

// isSafe reports whether the method is safe (RFC 9110, section 9.2.1), as far as
// payloads may name it.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}

// Redelivery returns AtLeastOnce for a call that may be repeated: either the payload
// says so, or it leaves idempotent out and the method is GET or HEAD.
func Redelivery(idempotent *bool, method string) broker.Redelivery {
	if idempotent != nil && *idempotent || idempotent == nil && isSafe(method) {
		return broker.AtLeastOnce
	}
	return broker.AtMostOnce
}

// CheckBody refuses a body of a GET or HEAD, to which HTTP gives no meaning.
func CheckBody(method string, body any) []payload.Problem {
	if body == nil || !isSafe(method) {
		return nil
	}
	return []payload.Problem{{
		Field: "body",
		Rule:  "must not be given with GET or HEAD",
	}}
}

// BodyJSON returns the JSON to send for a body, nil for none. Numbers stay as they
// were written.
func BodyJSON(body any) (json.RawMessage, error) {
	if body == nil {
		return nil, nil
	}
	return clients.EncodeJSON(body)
}
