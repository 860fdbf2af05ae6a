package danaconnect

import (
	"slices"
	"strings"

	"errand.internal/clients"
)

// The operations, as errors and metrics name them.
const (
	OpSend   = "otp send"
	OpVerify = "otp verify"
)

// Verdict is what the vendor says about a code.
type Verdict string

// The verdicts. None is the verdict of an answer that does not judge the code.
const (
	None      Verdict = ""
	Correct   Verdict = "correct"
	Incorrect Verdict = "incorrect" // an attempt is spent
	Expired   Verdict = "expired"
	Used      Verdict = "used"   // accepted once before, perhaps in our own unanswered call
	Locked    Verdict = "locked" // all attempts are spent
)

// Login says what an answer proves about the user and password.
type Login uint8

// The proofs. A code that the vendor may send before it looks at the login
// proves nothing: a wrong password must not pass for a good one.
const (
	ProvesNothing Login = iota
	LoginWorked
	LoginRefused
)

// Rule says what one responseCode means for one operation.
type Rule struct {
	Op, Code string
	// Success: the operation was done; Kind does not count.
	Success bool
	Kind    clients.Kind
	// Message in our own words, for everything but success.
	Message string
	Verdict Verdict
	Login   Login
}

// rules is the vendor's list of codes, one list per operation: 04 is an internal
// failure in send and a wrong code in verify. Codes that the page lists for the
// other operation alone are written out, too.
var rules = []Rule{
	{
		Op:      OpSend,
		Code:    "01",
		Success: true,
		Login:   LoginWorked,
	},
	{
		Op:      OpSend,
		Code:    "03",
		Kind:    clients.Unknown,
		Message: "a code of verify (expired) answers a send",
	},
	{
		Op:      OpSend,
		Code:    "04",
		Kind:    clients.Unknown,
		Message: "the vendor failed inside and does not say whether a code went out",
	},
	{
		Op:      OpSend,
		Code:    "05",
		Kind:    clients.Temporary,
		Message: "the service is under maintenance",
	},
	{
		Op:      OpSend,
		Code:    "06",
		Kind:    clients.Credentials,
		Message: "the user or the password is wrong",
		Login:   LoginRefused,
	},
	{
		Op:      OpSend,
		Code:    "07",
		Kind:    clients.Invalid,
		Message: "type must be 1 or 2",
	},
	{
		Op:      OpSend,
		Code:    "08",
		Kind:    clients.Invalid,
		Message: "length must be 3 to 12",
	},
	{
		Op:      OpSend,
		Code:    "09",
		Kind:    clients.Invalid,
		Message: "secondsExpiration must be 1 to 3200",
	},
	{
		Op:      OpSend,
		Code:    "10",
		Kind:    clients.Invalid,
		Login:   LoginWorked,
		Message: "idConversation is wrong; a conversation that was activated again has a new one",
	},
	{
		Op:      OpSend,
		Code:    "14",
		Kind:    clients.Unknown,
		Message: "a code of verify (already used) answers a send",
	},
	{
		Op:      OpSend,
		Code:    "15",
		Kind:    clients.Invalid,
		Message: "the request is refused as incorrect",
	},
	{
		Op:      OpSend,
		Code:    "16",
		Kind:    clients.Unknown,
		Message: "a code of verify (attempts spent) answers a send",
	},

	{
		Op:      OpVerify,
		Code:    "01",
		Success: true,
		Verdict: Correct,
		Login:   LoginWorked,
	},
	{
		Op:      OpVerify,
		Code:    "03",
		Kind:    clients.Declined,
		Message: "the code has expired",
		Verdict: Expired,
		Login:   LoginWorked,
	},
	{
		Op:      OpVerify,
		Code:    "04",
		Kind:    clients.Declined,
		Message: "the code is incorrect",
		Verdict: Incorrect,
		Login:   LoginWorked,
	},
	{
		Op:      OpVerify,
		Code:    "05",
		Kind:    clients.Temporary,
		Message: "the service is under maintenance",
	},
	{
		Op:      OpVerify,
		Code:    "06",
		Kind:    clients.Credentials,
		Message: "the user or the password is wrong",
		Login:   LoginRefused,
	},
	{
		Op:      OpVerify,
		Code:    "07",
		Kind:    clients.Invalid,
		Message: "the request is refused: type",
	},
	{
		Op:      OpVerify,
		Code:    "08",
		Kind:    clients.Invalid,
		Message: "the request is refused: length",
	},
	{
		Op:      OpVerify,
		Code:    "09",
		Kind:    clients.Invalid,
		Message: "the request is refused: secondsExpiration",
	},
	{
		Op:      OpVerify,
		Code:    "10",
		Kind:    clients.Invalid,
		Message: "the request is refused: idConversation",
		Login:   LoginWorked,
	},
	{
		Op:      OpVerify,
		Code:    "14",
		Kind:    clients.Declined,
		Message: "the code was used before",
		Verdict: Used,
		Login:   LoginWorked,
	},
	{
		Op:      OpVerify,
		Code:    "15",
		Kind:    clients.Invalid,
		Message: "the request is refused as incorrect",
	},
	{
		Op:      OpVerify,
		Code:    "16",
		Kind:    clients.Declined,
		Message: "all attempts are spent",
		Verdict: Locked,
		Login:   LoginWorked,
	},
}

// Rules returns the table, for tests and documentation.
func Rules() []Rule {
	return slices.Clone(rules)
}

func findRule(op, code string) (Rule, bool) {
	i := slices.IndexFunc(
		rules,
		func(r Rule) bool { return r.Op == op && r.Code == code },
	)
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// normalize makes "01" of "1" and 1: the vendor's page says text of two digits,
// a JSON library in between may say otherwise.
func normalize(code clients.Text) string {
	digits := strings.TrimSpace(string(code))
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return digits
	}
	digits = strings.TrimLeft(digits, "0")
	for len(digits) < 2 {
		digits = "0" + digits
	}
	return digits
}
