package dinero

import (
	"net/http"
	"slices"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// The operations, as errors and metrics name them.
const (
	OpCall          = "api call"
	OpContactCreate = "contact create"
	OpContactFind   = "contact find"
	OpInvoiceCreate = "invoice create"
	OpInvoiceFind   = "invoice find"
)

const (
	// brownOut is the vendor's own status.
	brownOut = 480
	// QuotaRest is what the vendor asks for after a 429: "wait a minute".
	QuotaRest = time.Minute
	// The codes for a missing subscription, on the newer and on the older page.
	noPro, noProOld = "90", "48"
)

// Rule says what a status means, together with the vendor's code in the body.
type Rule struct {
	// From and To are the first and the last status of the row.
	From, To int
	// Code is the vendor's, "" for any or none.
	Code string
	// Method is the request's, "" for any.
	Method string
	// Done: the call succeeded; Kind does not count.
	Done bool
	Kind clients.Kind
	// Message in our own words, for everything but success.
	Message string
	// Wait is the rest after a refusal that names none.
	Wait time.Duration
	// Named: Code of the error is the status where the body has none.
	Named bool
	// Organization is what the answer says about the organization being usable.
	Organization tokens.AuthResult
}

// rules is the one table; the first row that fits counts. What it does not list
// is clients.StatusError's and counts as unlisted, and so is a code of a 400
// that the vendor's page does not list.
var rules = []Rule{
	{
		From:         200,
		To:           299,
		Done:         true,
		Organization: tokens.Accepted,
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
		Message: "the vendor finds the content wrong",
	},
	{
		From:    400,
		To:      400,
		Code:    "43",
		Kind:    clients.Invalid,
		Message: "a limit of the vendor is exceeded",
	},
	{
		From:    400,
		To:      400,
		Code:    "58",
		Kind:    clients.Declined,
		Message: "somebody else changed it meanwhile: the Timestamp is no longer the current one",
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
		Code:         noProOld,
		Kind:         clients.Credentials,
		Message:      "the organization has no active Pro subscription",
		Organization: tokens.Refused,
	},
	{
		From:         403,
		To:           403,
		Code:         noPro,
		Kind:         clients.Credentials,
		Message:      "the organization has no active Pro subscription",
		Organization: tokens.Refused,
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
		From:    429,
		To:      429,
		Kind:    clients.RateLimited,
		Message: "the organization's quota is used up",
		Wait:    QuotaRest,
	},
	{
		From:    brownOut,
		To:      brownOut,
		Kind:    clients.Temporary,
		Named:   true,
		Message: "brown-out: the vendor is about to remove this endpoint, and lets it fail at random until then",
	},
	{
		From:    500,
		To:      599,
		Kind:    clients.Unknown,
		Message: "the server failed; the request may have been carried out",
	},
}

// Rules returns the table, for tests and documentation.
func Rules() []Rule {
	return slices.Clone(rules)
}

// listedCodes are the codes of a 400 or 403 that the vendor's page lists.
var listedCodes = []string{"", "40", "41", "42", "43", noProOld, "58", noPro}

func findRule(method string, status int, code string) (rule Rule, listed bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool {
		return r.From <= status && status <= r.To && (r.Code == "" || r.Code == code) &&
			(r.Method == "" || r.Method == method)
	})
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}
