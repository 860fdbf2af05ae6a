package dinero

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
)

// The operations, as errors and metrics name them.
const (
	OpCall          = "api call"
	OpContactCreate = "contact create"
	OpContactFind   = "contact find" // of a reconciliation
	OpInvoiceCreate = "invoice create"
	OpInvoiceFind   = "invoice find" // of a reconciliation
)

// Operations are all of them, and the login.
var Operations = []string{
	OpToken,
	OpCall,
	OpContactCreate,
	OpContactFind,
	OpInvoiceCreate,
	OpInvoiceFind,
}

const (
	// statusBrownOut is a status of the vendor's own.
	statusBrownOut = 480
	// QuotaRetryAfter is the wait that the vendor requests after a 429: "wait a
	// minute".
	QuotaRetryAfter = time.Minute
	// codeNoPro is the code for a missing Pro subscription on the vendor's newer
	// page, codeNoProOld the one on the older page.
	codeNoPro    = "90"
	codeNoProOld = "48"
)

// Rule is one row of the table: what a status means, together with the vendor's
// code in the body.
type Rule struct {
	// From and To are the first and the last status of the row.
	From, To int
	// Code is the vendor's code; "" matches any or none.
	Code string
	// Method is the request's method; "" matches any.
	Method string
	// Done means that the call succeeded, ByStatus that clients.StatusRules decide.
	// Kind is then unused.
	Done     bool
	ByStatus bool
	Kind     clients.Kind
	// Message describes a failure in our own words.
	Message string
	// RetryAfter is the wait after an answer that has no Retry-After.
	RetryAfter time.Duration
	// StatusAsCode makes the status the code of the error if the body has none.
	StatusAsCode bool
	// Organization is the verdict that the answer gives on the organization.
	Organization admission.Verdict
}

// rules is the table. The first matching row applies. An answer that matches none
// is interpreted by clients.StatusError and counted as unlisted, and so is a code
// of a 400 or 403 that the vendor's page does not list.
var rules = []Rule{
	{
		From:         200,
		To:           299,
		Done:         true,
		Organization: admission.Accepted,
	},
	{
		From:   404,
		To:     404,
		Method: http.MethodDelete,
		Done:   true,
	},
	{
		From:   400,
		To:     400,
		Code:   "40",
		Method: http.MethodDelete,
		Done:   true,
	},
	{
		From:    400,
		To:      400,
		Code:    "42",
		Kind:    clients.Invalid,
		Message: "the content is invalid",
	},
	{
		From:    400,
		To:      400,
		Code:    "43",
		Kind:    clients.Invalid,
		Message: "a vendor limit is exceeded",
	},
	{
		From:    400,
		To:      400,
		Code:    "58",
		Kind:    clients.Declined,
		Message: "the record was changed meanwhile: the Timestamp is no longer current",
	},
	{
		From:    400,
		To:      400,
		Code:    "41",
		Kind:    clients.Credentials,
		Message: "the account has no access to it",
	},
	{
		From:    400,
		To:      400,
		Code:    "40",
		Kind:    clients.Invalid,
		Message: "there is no such address or object",
	},
	{
		From:    400,
		To:      400,
		Kind:    clients.Invalid,
		Message: "the request is refused as malformed",
	},
	{
		From:    401,
		To:      401,
		Kind:    clients.Credentials,
		Message: "the token is refused",
	},
	{
		From:         403,
		To:           403,
		Code:         codeNoProOld,
		Kind:         clients.Credentials,
		Message:      "the organization has no active Pro subscription",
		Organization: admission.Refused,
	},
	{
		From:         403,
		To:           403,
		Code:         codeNoPro,
		Kind:         clients.Credentials,
		Message:      "the organization has no active Pro subscription",
		Organization: admission.Refused,
	},
	{
		From:    403,
		To:      403,
		Kind:    clients.Credentials,
		Message: "the account has no access to it",
	},
	{
		From:    404,
		To:      404,
		Kind:    clients.Invalid,
		Message: "there is no such address or object",
	},
	{
		From:    413,
		To:      413,
		Kind:    clients.Invalid,
		Message: "the file is too large",
	},
	{
		From:       429,
		To:         429,
		Kind:       clients.Blocked,
		Message:    "the organization's quota is used up",
		RetryAfter: QuotaRetryAfter,
	},
	{
		From:         statusBrownOut,
		To:           statusBrownOut,
		Kind:         clients.Temporary,
		StatusAsCode: true,
		Message:      "brown-out: the vendor is about to remove this endpoint and makes it fail at random until then",
	},
	{
		From:     500,
		To:       599,
		ByStatus: true,
	},
}

// Rules returns the table, for tests and documentation.
func Rules() []Rule {
	return slices.Clone(rules)
}

// listedCodes are the codes of a 400 or 403 that the vendor's page lists.
var listedCodes = []string{"", "40", "41", "42", "43", codeNoProOld, "58", codeNoPro}

func findRule(method string, status int, code string) (rule Rule, listed bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool {
		return r.From <= status && status <= r.To &&
			(r.Code == "" || r.Code == code) &&
			(r.Method == "" || r.Method == method)
	})
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// interpret returns the error that an answer means by its status and code, and its
// verdict on the organization. The error quotes nothing of the vendor's prose.
func interpret(r apiRequest, a *clients.Answer) (admission.Verdict, error) {
	code := codeOf(a)
	rule, listed := findRule(r.method, a.Status, code)
	switch {
	case !listed:
		e := clients.StatusError(Vendor, r.op, a)
		e.Code = code
		e.Unlisted = true
		return admission.Inconclusive, e
	case rule.Done && (a.Incomplete || isWebPage(a)):
		return admission.Inconclusive, nil // it may not come from the API
	case rule.Done:
		return rule.Organization, nil
	}
	return rule.Organization, rule.failure(r.op, a, code)
}

// failure returns the error that the row means.
func (r Rule) failure(op string, a *clients.Answer, code string) *clients.Error {
	if r.ByStatus {
		e := clients.StatusError(Vendor, op, a)
		e.Code = code
		return e
	}
	e := &clients.Error{
		Vendor:  Vendor,
		Op:      op,
		Kind:    r.Kind,
		Status:  a.Status,
		Code:    code,
		Message: r.Message,
	}
	e.Unlisted = r.Code == "" &&
		(a.Status == http.StatusBadRequest || a.Status == http.StatusForbidden) &&
		!slices.Contains(listedCodes, code)
	if r.StatusAsCode && code == "" {
		e.Code = strconv.Itoa(a.Status)
	}
	switch r.Kind {
	case clients.Blocked, clients.Temporary, clients.Unknown:
		e.RetryAfter = cmp.Or(clients.RetryAfter(a.Header, clients.MaxRetryAfter), r.RetryAfter)
	}
	return e
}

func isWebPage(a *clients.Answer) bool {
	return bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<"))
}

// codeOf returns the vendor's code in an error body, "" if there is none: the body
// of a 429 is plain text.
func codeOf(a *clients.Answer) string {
	if a.Status >= 200 && a.Status <= 299 {
		return ""
	}
	var body struct {
		Code clients.Text `json:"code"`
	}
	if clients.DecodeObject(a, &body) != nil {
		return ""
	}
	return body.Code.Code()
}
