package dckap

import (
	"slices"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// OpCall is the one operation, as errors and metrics name it.
const OpCall = "dynamic call"

// Sight is what the body of an answer shows.
type Sight string

// The sights. Only those of a 2xx are told apart: whatever a pipe has to say
// comes with status 200.
const (
	Any        Sight = "any"
	Verified   Sight = "verified"   // JSON that the pipe's rule calls good
	Unverified Sight = "unverified" // JSON, no rule, no failure sign
	Reported   Sight = "reported"   // JSON with a failure sign
	Unmet      Sight = "unmet"      // JSON that the pipe's rule does not call good
	Unreadable Sight = "unreadable" // empty, null, a web page, cut off, no JSON
)

// Rule says what one observation means.
type Rule struct {
	// From and To are the first and the last status of the row.
	From, To int
	Sight    Sight
	// Done: the call succeeded; Kind does not count.
	Done bool
	Kind clients.Kind
	// Message in our own words, for everything but success.
	Message string
	// Credential and Pipe are what the observation says about the account's
	// credential and about the pipe being enabled.
	Credential, Pipe tokens.AuthResult
}

// rules is the one table; the first row that fits counts. What it does not list
// is clients.StatusError's and counts as unlisted.
//
// The vendor names two statuses, 400 and 401, and says that every other error
// comes as 200. So a 5xx is the platform's and not the pipe's, and the pipe has
// not run; but one that speaks of a time out (408, 504) may hide a pipe that
// has.
var rules = []Rule{
	{
		From:       200,
		To:         299,
		Sight:      Verified,
		Done:       true,
		Credential: tokens.Accepted,
		Pipe:       tokens.Accepted,
	},
	{
		From:       200,
		To:         299,
		Sight:      Unverified,
		Done:       true,
		Credential: tokens.Accepted,
		Pipe:       tokens.Accepted,
	},
	{
		From:       200,
		To:         299,
		Sight:      Reported,
		Kind:       clients.Failed,
		Message:    "the pipe reports a failure",
		Credential: tokens.Accepted,
		Pipe:       tokens.Accepted,
	},
	{
		From:       200,
		To:         299,
		Sight:      Unmet,
		Kind:       clients.Failed,
		Message:    "the answer does not meet the pipe's success rule",
		Credential: tokens.Accepted,
		Pipe:       tokens.Accepted,
	},
	{
		From:    200,
		To:      299,
		Sight:   Unreadable,
		Kind:    clients.Unknown,
		Message: "the answer cannot be read",
	},
	{
		From:    400,
		To:      400,
		Sight:   Any,
		Kind:    clients.Credentials,
		Message: "the pipe is disabled",
		Pipe:    tokens.Refused,
	},
	{
		From:       401,
		To:         401,
		Sight:      Any,
		Kind:       clients.Credentials,
		Message:    "the credential is refused",
		Credential: tokens.Refused,
	},
	{
		From:    403,
		To:      403,
		Sight:   Any,
		Kind:    clients.Credentials,
		Message: "access is refused: the account lacks the right, or this address is not on the allow-list",
	},
	{
		From:    404,
		To:      404,
		Sight:   Any,
		Kind:    clients.Invalid,
		Message: "there is no such listener",
	},
	{
		From:    408,
		To:      408,
		Sight:   Any,
		Kind:    clients.Unknown,
		Message: "the server gave up waiting; the pipe may have run",
	},
	{
		From:    429,
		To:      429,
		Sight:   Any,
		Kind:    clients.RateLimited,
		Message: "too many requests",
	},
	{
		From:    504,
		To:      504,
		Sight:   Any,
		Kind:    clients.Unknown,
		Message: "a gateway gave up waiting; the pipe may have run",
	},
	{
		From:    500,
		To:      599,
		Sight:   Any,
		Kind:    clients.Temporary,
		Message: "the platform failed",
	},
}

// Rules returns the table, for tests and documentation.
func Rules() []Rule {
	return slices.Clone(rules)
}

func findRule(status int, s Sight) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool {
		return r.From <= status && status <= r.To && (r.Sight == Any || r.Sight == s)
	})
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}
