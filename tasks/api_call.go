package tasks

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"errand.internal/clients"
	"errand.internal/internal/payload"
)

// VendorAnswer is what a vendor answered to a free call, as it came.
type VendorAnswer = clients.Reply

// Query is the query of a free call: to each name one value, or a list of
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

func (q Query) problems(field string) []payload.Problem {
	var found []payload.Problem
	for name, given := range q {
		if _, ok := queryTexts(given); !ok || name == "" {
			found = append(
				found,
				payload.Problem{
					Field: field + "." + name,
					Rule:  "must be text, a number, true or false, or a list of those",
				},
			)
		}
	}
	return found
}

// queryTexts are the values under one name.
func queryTexts(given any) ([]string, bool) {
	raw, err := json.Marshal(given) // whatever Go type a producer took
	if err != nil {
		return nil, false
	}
	items := []json.RawMessage{raw}
	if raw[0] == '[' && json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	texts := make([]string, len(items))
	for i, item := range items {
		text, ok := scalarText(item)
		if !ok {
			return nil, false
		}
		texts[i] = text
	}
	return texts, true
}

// scalarText is the text of a JSON string, number or boolean.
func scalarText(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || slices.Contains([]byte("{[n"), raw[0]) {
		return "", false
	}
	var text string
	if raw[0] == '"' {
		err := json.Unmarshal(raw, &text)
		return text, err == nil
	}
	return string(raw), true
}

// reads tells the methods that change nothing.
func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}

// repeatable is the payload's word, or else that of the method.
func repeatable(idempotent *bool, method string) bool {
	if idempotent != nil {
		return *idempotent
	}
	return reads(method)
}

// bodyProblems refuses a body where HTTP gives it no meaning.
func bodyProblems(method string, body any) []payload.Problem {
	if body != nil && reads(method) {
		return []payload.Problem{
			{Field: "body", Rule: "must not be given with GET or HEAD"},
		}
	}
	return nil
}

// bodyJSON is a free body as it is sent, nil for none. Numbers stay as they
// were written.
func bodyJSON(body any) (json.RawMessage, error) {
	if body == nil {
		return nil, nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}
