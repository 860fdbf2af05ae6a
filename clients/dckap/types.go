package dckap

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"errand.internal/clients"
)

// Call is one call of a dynamic pipe.
type Call struct {
	// Listener is the id of the pipe's listener, or the URL copied from the pipe
	// if it is below the account's base URL.
	Listener string
	// Method is one of Methods; "" means POST.
	Method string
	Query  url.Values
	// Body is JSON, nil for none.
	Body json.RawMessage
	// Idempotent overrides the pipes file unless it is nil.
	Idempotent *bool
}

// Methods are the methods of a call. HEAD is missing because a pipe answers in
// its body.
var Methods = []string{
	http.MethodGet,
	http.MethodPost,
	http.MethodPut,
	http.MethodPatch,
	http.MethodDelete,
}

// Answer is what the pipe answered. Its body is the pipe's JSON, nil if there was
// none or it could not be read. The body may hold prose and personal data, so it
// belongs in a task's result and not in a log.
type Answer struct {
	clients.Reply
	// Verified means that the pipe's success rule was applied and met. If it is
	// false beside a nil error, the pipe has no rule.
	Verified bool `json:"verified"`
}

// Pipe holds what the pipes file says about one dynamic pipe.
type Pipe struct {
	// Success is the rule for a successful answer; nil if answers cannot be
	// verified.
	Success *Success
	// Idempotent means that running the pipe twice does no harm, so a call whose
	// result is unknown or failed is retried.
	Idempotent bool
}

// Success is a rule about an answer: the value at Path must equal Equals, or, if
// Equals is nil, be present and not null.
type Success struct {
	Path   Path
	Equals *json.RawMessage // a JSON text, number, true or false
}

// matches reports whether an answer meets the rule. The document must have been
// decoded with json.Number.
func (s Success) matches(document any) bool {
	value, found := s.Path.Lookup(document)
	if !found {
		return false
	}
	if s.Equals == nil {
		return value != nil
	}
	want, err := decodeDocument(*s.Equals)
	if err != nil {
		return false
	}
	if number, ok := want.(json.Number); ok {
		got, ok := value.(json.Number)
		return ok && equalNumbers(got.String(), number.String())
	}
	switch value.(type) {
	case bool, string:
		return value == want
	}
	return false // objects and lists are not comparable with ==
}

// decodeDocument decodes a JSON text and keeps its numbers as they are written.
func decodeDocument(text json.RawMessage) (document any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&document)
	return document, err
}

// equalNumbers compares by value: 1, 1.0 and 10e-1 are equal.
func equalNumbers(a, b string) bool {
	if a == b {
		return true
	}
	if tooLarge(a) || tooLarge(b) {
		return false
	}
	x, xOK := new(big.Rat).SetString(a)
	y, yOK := new(big.Rat).SetString(b)
	return xOK && yOK && x.Cmp(y) == 0
}

// tooLarge reports whether the exact value of a number could fill the memory, as
// that of 1e999999999 would.
func tooLarge(number string) bool {
	exponent := strings.IndexAny(number, "eE")
	return len(number) > 64 || (exponent >= 0 && len(number)-exponent > 5)
}

// Path leads to a value in a JSON document. Its parts are member names and list
// indexes.
type Path []string

// ParsePath parses data.items.0.id, which may also be written
// $.data.items[0].id. A name that contains dots or brackets is written in
// brackets and quotes: data['order.id'].
func ParsePath(text string) (Path, error) {
	rest := strings.TrimSpace(text)
	if rest == "$" || strings.HasPrefix(rest, "$.") || strings.HasPrefix(rest, "$[") {
		rest = strings.TrimPrefix(rest[1:], ".")
	}
	var path Path
	for rest != "" {
		part, after, ok := cutPart(rest)
		if !ok {
			return nil, errors.New("a path must be written as data.items[0].id")
		}
		path = append(path, part)
		rest = after
		if after, dot := strings.CutPrefix(rest, "."); dot {
			if rest = after; rest == "" {
				return nil, errors.New("a path must not end in a dot")
			}
		}
	}
	if len(path) == 0 {
		return nil, errors.New("a path must not be empty")
	}
	return path, nil
}

// cutPart cuts the first part off a path: a plain name, ['name'], ["name"] or
// [0]. ok is false if the path is malformed.
func cutPart(path string) (part, rest string, ok bool) {
	if path[0] != '[' {
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		return path[:end], path[end:], end > 0
	}
	inner := path[1:]
	if inner != "" && (inner[0] == '\'' || inner[0] == '"') {
		part, rest, ok = strings.Cut(inner[1:], inner[:1]+"]")
		return part, rest, ok && part != ""
	}
	part, rest, ok = strings.Cut(inner, "]")
	return part, rest, ok && part != "" && strings.Trim(part, "0123456789") == ""
}

// Lookup returns the value at the path in a document that was decoded with
// json.Number. Names are case-sensitive.
func (p Path) Lookup(document any) (value any, found bool) {
	value = document
	for _, part := range p {
		switch inner := value.(type) {
		case map[string]any:
			if value, found = inner[part]; !found {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(inner) {
				return nil, false
			}
			value = inner[i]
		default:
			return nil, false
		}
	}
	return value, true
}
