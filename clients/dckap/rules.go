package dckap

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/strictjson"
)

// OpCall is the only operation, as errors and metrics name it.
const OpCall = "dynamic call"

// BodyClass classifies the body of an answer.
type BodyClass string

// The classes. They matter for a 2xx only, because a pipe answers everything
// with status 200.
const (
	AnyBody        BodyClass = "any"
	RuleMet        BodyClass = "rule met"        // JSON that meets the pipe's success rule
	NoRule         BodyClass = "no rule"         // JSON without a failure field; the pipe has no rule
	ReportsFailure BodyClass = "reports failure" // JSON with a failure field
	RuleNotMet     BodyClass = "rule not met"    // JSON that does not meet the pipe's success rule
	Unreadable     BodyClass = "unreadable"      // empty, null, a web page, truncated or not JSON
)

// Rule is one row of the table: what an answer means.
type Rule struct {
	// From and To are the first and the last status of the row.
	From, To int
	Body     BodyClass
	// Done means that the call succeeded, ByStatus that clients.StatusRules decide.
	// Kind is then unused.
	Done     bool
	ByStatus bool
	Kind     clients.Kind
	// Message describes a failure in our own words.
	Message string
	// Credential and Pipe are the verdicts that the answer gives on the account's
	// credential and on the pipe being enabled.
	Credential, Pipe admission.Verdict
}

// rules is the table. The first matching row applies. An answer that matches none
// is interpreted by clients.StatusError and counted as unlisted.
//
// The vendor documents two error statuses, 400 and 401, and says that every other
// error has status 200. So a 5xx does not come from the pipe. It may still come after
// the pipe has run: a gateway stands before the platform.
var rules = []Rule{
	{
		From:       200,
		To:         299,
		Body:       RuleMet,
		Done:       true,
		Credential: admission.Accepted,
		Pipe:       admission.Accepted,
	},
	{
		From:       200,
		To:         299,
		Body:       NoRule,
		Done:       true,
		Credential: admission.Accepted,
		Pipe:       admission.Accepted,
	},
	{
		From:       200,
		To:         299,
		Body:       ReportsFailure,
		Kind:       clients.Failed,
		Message:    "the pipe reports a failure",
		Credential: admission.Accepted,
		Pipe:       admission.Accepted,
	},
	{
		From:       200,
		To:         299,
		Body:       RuleNotMet,
		Kind:       clients.Failed,
		Message:    "the answer does not meet the pipe's success rule",
		Credential: admission.Accepted,
		Pipe:       admission.Accepted,
	},
	{
		From:    200,
		To:      299,
		Body:    Unreadable,
		Kind:    clients.Unknown,
		Message: "the answer cannot be read",
	},
	{
		From:    400,
		To:      400,
		Body:    AnyBody,
		Kind:    clients.Credentials,
		Message: "the pipe is disabled",
		Pipe:    admission.Refused,
	},
	{
		From:       401,
		To:         401,
		Body:       AnyBody,
		Kind:       clients.Credentials,
		Message:    "the credential is refused",
		Credential: admission.Refused,
	},
	{
		From:    403,
		To:      403,
		Body:    AnyBody,
		Kind:    clients.Credentials,
		Message: "access is refused: the account lacks the permission, or this address is not on the allow-list",
	},
	{
		From:    404,
		To:      404,
		Body:    AnyBody,
		Kind:    clients.Invalid,
		Message: "there is no such listener",
	},
	{
		From:    429,
		To:      429,
		Body:    AnyBody,
		Kind:    clients.Blocked,
		Message: "too many requests",
	},
	{
		From:     500,
		To:       599,
		Body:     AnyBody,
		ByStatus: true,
	},
}

// Rules returns the table, for tests and documentation.
func Rules() []Rule {
	return slices.Clone(rules)
}

func findRule(status int, class BodyClass) (rule Rule, listed bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool {
		return r.From <= status && status <= r.To && (r.Body == AnyBody || r.Body == class)
	})
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// failure returns the error that the row means. unreadable says why the body could
// not be read.
func (r Rule) failure(a *clients.Answer, unreadable error) *clients.Error {
	if r.ByStatus {
		return clients.StatusError(Vendor, OpCall, a)
	}
	e := &clients.Error{
		Vendor:  Vendor,
		Op:      OpCall,
		Kind:    r.Kind,
		Status:  a.Status,
		Message: r.Message,
	}
	if r.Body == Unreadable {
		e.Message += ": " + unreadable.Error()
	}
	if r.Kind != clients.Credentials && r.Kind != clients.Invalid {
		e.RetryAfter = clients.RetryAfter(a.Header, clients.MaxRetryAfter)
	}
	return e
}

// classify reads the body of an answer and applies the pipe's rule, which may be
// nil. If the body is unreadable, the error says why, in our own words.
func classify(a *clients.Answer, rule *Success) (json.RawMessage, BodyClass, error) {
	body, err := clients.JSONBody(a)
	if err != nil {
		return nil, Unreadable, err
	}
	document, err := decodeDocument(body)
	switch {
	case err != nil:
		return nil, Unreadable, errors.New("it is not JSON")
	case ambiguous(body, rule):
		return nil, Unreadable, errors.New("a field that decides is given twice")
	case reportsFailure(document):
		// Before the rule: what the pipe itself calls a failure is never done.
		return body, ReportsFailure, nil
	case rule == nil:
		return body, NoRule, nil
	case rule.matches(document):
		return body, RuleMet, nil
	}
	return body, RuleNotMet, nil
}

// FailureFields describes the top-level fields by which an answer reports a
// failure, whatever the pipe's rule says. Names are case-insensitive.
var FailureFields = []string{
	"error: anything but null, false, 0 or an empty value",
	"errors: anything but null, false, 0 or an empty value",
	"success: false",
	`status: "error" or "failed"`,
}

// ambiguous reports whether the answer has a field twice that decides about it: a
// failure field, or one on the rule's path.
func ambiguous(body json.RawMessage, rule *Success) bool {
	seen := map[string]bool{}
	for name := range strictjson.Members(body) {
		for _, known := range []string{"error", "errors", "success", "status"} {
			if !strings.EqualFold(string(name), known) {
				continue
			}
			if seen[known] {
				return true
			}
			seen[known] = true
		}
	}
	return rule != nil && ambiguousPath(body, rule.Path)
}

// ambiguousPath reports whether an object on the path has the path's field twice.
func ambiguousPath(body json.RawMessage, path []string) bool {
	for _, part := range path {
		switch {
		case len(body) > 0 && body[0] == '{':
			values := named(body, part)
			if len(values) != 1 {
				return len(values) > 1
			}
			body = values[0]
		case len(body) > 0 && body[0] == '[':
			items := strictjson.Items(body)
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(items) {
				return false
			}
			body = items[i]
		default:
			return false
		}
	}
	return false
}

// named returns the values of an object's members with a name.
func named(object json.RawMessage, name string) []json.RawMessage {
	var values []json.RawMessage
	for given, value := range strictjson.Members(object) {
		if string(given) == name {
			values = append(values, value)
		}
	}
	return values
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
			if !isZeroValue(value) {
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

// isZeroValue reports whether the value of an error field means "no error".
func isZeroValue(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return strings.TrimSpace(v) == ""
	case json.Number:
		return equalNumbers(v.String(), "0")
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
