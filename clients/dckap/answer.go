package dckap

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"

	"errand.internal/clients"
)

// Answer is what the pipe answered, as it came. It may hold prose and personal
// data, so it belongs into a result and not into a log.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Body is the pipe's JSON; nil if there is none, or none that is whole.
	Body json.RawMessage
	// Verified: the pipe's success rule was applied and met. false with a nil
	// error means that there is no rule, so that nobody can tell.
	Verified bool
}

// look reads an answer by the pipe's rule, which may be nil. why says in our own
// words what is wrong with a body that cannot be read.
func look(a *clients.Answer, rule *Success) (body json.RawMessage, s BodyClass, why string) {
	document, body, why := decode(a)
	switch {
	case why != "":
		return body, Unreadable, why
	case reportsFailure(document):
		// Before the rule: what a pipe itself calls a failure is never called done.
		return body, ReportsFailure, ""
	case rule == nil:
		return body, NoRule, ""
	case rule.met(document):
		return body, RuleMet, ""
	}
	return body, RuleNotMet, ""
}

// decode reads a body that must be one JSON text, of whatever type.
func decode(a *clients.Answer) (document any, body json.RawMessage, why string) {
	body = bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf")))
	switch {
	case a.Incomplete:
		return nil, nil, "it broke off or is too large"
	case len(body) == 0:
		return nil, nil, "it is empty"
	case body[0] == '<':
		return nil, nil, "it is a web page"
	case !json.Valid(body):
		return nil, nil, "it is not JSON"
	case string(body) == "null":
		return nil, nil, "it is null"
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&document) != nil { // nested too deep
		return nil, nil, "it is not JSON that can be read"
	}
	return document, body, ""
}

// FailureFields are what, at the top of an answer, says that the pipe failed,
// whatever the rule says. Names count in any case of letters.
var FailureFields = []string{
	"error: anything but null, false, 0, and what is empty",
	"errors: anything but null, false, 0, and what is empty",
	"success: false",
	`status: "error" or "failed"`,
}

func reportsFailure(document any) bool {
	object, ok := document.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range object {
		text, _ := value.(string)
		switch strings.ToLower(name) {
		case "error", "errors":
			if !hollow(value) {
				return true
			}
		case "success":
			if value == false || strings.EqualFold(text, "false") {
				return true
			}
		case "status":
			if strings.EqualFold(text, "error") || strings.EqualFold(text, "failed") {
				return true
			}
		}
	}
	return false
}

// hollow tells a value that says "no error".
func hollow(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return strings.TrimSpace(v) == ""
	case json.Number:
		return sameNumber(v.String(), "0")
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// met applies the rule to an answer.
func (s Success) met(document any) bool {
	value, found := s.Path.Lookup(document)
	if !found {
		return false
	}
	if s.Equals == nil {
		return value != nil
	}
	var want any
	decoder := json.NewDecoder(bytes.NewReader(*s.Equals))
	decoder.UseNumber()
	if decoder.Decode(&want) != nil {
		return false
	}
	if number, ok := want.(json.Number); ok {
		got, ok := value.(json.Number)
		return ok && sameNumber(got.String(), number.String())
	}
	switch value.(type) {
	case bool, string:
		return value == want
	}
	return false // an object or a list is no scalar, and must not be compared
}

// sameNumber compares 1, 1.0 and 10e-1 as the same.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	if hugeExponent(a) || hugeExponent(b) {
		return false
	}
	x, ok := new(big.Rat).SetString(a)
	y, okay := new(big.Rat).SetString(b)
	return ok && okay && x.Cmp(y) == 0
}

// hugeExponent keeps 1e999999999 from filling the memory.
func hugeExponent(number string) bool {
	at := strings.IndexAny(number, "eE")
	return len(number) > 64 || (at >= 0 && len(number)-at > 5)
}
