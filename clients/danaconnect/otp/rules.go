package otp

import (
	"net/http"
	"slices"
	"strings"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
)

// The operations, as errors and metrics name them.
const (
	OpSend   = "otp send"
	OpVerify = "otp verify"
)

// Operations are all of them.
var Operations = []string{OpSend, OpVerify}

// Rule gives the meaning of one responseCode of one operation.
type Rule struct {
	Op, Code string
	// Success means that the operation was carried out; Kind and Message are unset.
	Success bool
	Kind    clients.Kind
	// Message describes the error in our own words.
	Message string
	Verdict Verdict
	// Login is what the code proves about user and password. A code that the vendor
	// may send before it checks the login proves nothing, so that a wrong password
	// never passes for a good one.
	Login admission.Verdict
}

// rules is the vendor's list of codes for each operation: 04 is an internal
// failure in send and a wrong code in verify. A code that the page lists only for
// the other operation has a row, too.
var rules = []Rule{
	{
		Op:      OpSend,
		Code:    "01",
		Success: true,
		Login:   admission.Accepted,
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
		Login:   admission.Refused,
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
		Login:   admission.Accepted,
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
		Login:   admission.Accepted,
	},
	{
		Op:      OpVerify,
		Code:    "03",
		Kind:    clients.Declined,
		Message: "the code has expired",
		Verdict: Expired,
		Login:   admission.Accepted,
	},
	{
		Op:      OpVerify,
		Code:    "04",
		Kind:    clients.Declined,
		Message: "the code is incorrect",
		Verdict: Incorrect,
		Login:   admission.Accepted,
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
		Login:   admission.Refused,
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
		Login:   admission.Accepted,
	},
	{
		Op:      OpVerify,
		Code:    "14",
		Kind:    clients.Declined,
		Message: "the code was used before",
		Verdict: Used,
		Login:   admission.Accepted,
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
		Login:   admission.Accepted,
	},
}

// Rules returns a copy of the table, for tests and documentation.
func Rules() []Rule {
	return slices.Clone(rules)
}

func findRule(op, code string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool {
		return r.Op == op && r.Code == code
	})
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// normalize turns 1 and "1" into "01": the vendor's page promises two digits as
// text, which a JSON library in between may change. It makes no other code of one that
// the page does not list, such as "001".
func normalize(code clients.Text) string {
	text := strings.TrimSpace(string(code))
	if len(text) == 1 && text[0] >= '0' && text[0] <= '9' {
		return "0" + text
	}
	return text
}

// reply is the vendor's resultOTPJSON, the answer of both operations.
type reply struct {
	IDRequest             clients.Text `json:"idRequest"`
	ResponseCode          clients.Text `json:"responseCode"`
	ConversationRequestID clients.Text `json:"conversationRequestId"` // optional in verify's table
}

// reading is what one answer says.
type reading struct {
	status  int
	reply   reply
	verdict Verdict
	login   admission.Verdict
}

// unknown returns the error of an answer that contradicts itself.
func (r reading) unknown(op, message string) *clients.Error {
	return &clients.Error{
		Vendor:  danaconnect.Vendor,
		Op:      op,
		Kind:    clients.Unknown,
		Status:  r.status,
		Code:    r.reply.ResponseCode.Code(),
		Message: message,
	}
}

// read interprets an answer: the code in the body decides, or the status if the
// body has no code.
func read(op string, a *clients.Answer) (reading, error) {
	r := reading{status: a.Status}
	decodeErr := clients.DecodeObject(a, &r.reply)
	code := normalize(r.reply.ResponseCode)
	if decodeErr != nil || code == "" {
		r.reply = reply{} // a partly decoded reply counts as none
		r.login = loginVerdict(a.Status, Rule{})
		return r, codelessError(op, a, decodeErr)
	}
	rule, listed := findRule(op, code)
	r.login = loginVerdict(a.Status, rule)
	if !listed {
		err := unlistedError(op, a)
		err.Code = r.reply.ResponseCode.Code()
		err.Unlisted = true
		return r, err
	}
	if !rule.Success {
		// A failure code counts whatever the status: "06" with 200 is a refused
		// login, and "04" of a verify with 500 is still a wrong code.
		r.verdict = rule.Verdict
		err := &clients.Error{
			Vendor:  danaconnect.Vendor,
			Op:      op,
			Kind:    rule.Kind,
			Status:  a.Status,
			Code:    r.reply.ResponseCode.Code(),
			Message: rule.Message,
		}
		if rule.Kind == clients.Temporary {
			err.RetryAfter = clients.RetryAfter(a.Header, clients.MaxRetryAfter)
		}
		return r, err
	}
	if a.Status < 200 || a.Status > 299 {
		if r.login == admission.Accepted {
			r.login = admission.Inconclusive
		}
		return r, r.unknown(op, "code 01 claims success, the status says the opposite")
	}
	r.verdict = rule.Verdict
	return r, nil
}

// codelessError returns the error of an answer without a code.
func codelessError(op string, a *clients.Answer, decodeErr error) *clients.Error {
	switch {
	case a.Status < 200 || a.Status > 299:
		return clients.StatusError(danaconnect.Vendor, op, a)
	case decodeErr != nil:
		return clients.UnreadableError(danaconnect.Vendor, op, a, decodeErr.Error())
	}
	return clients.UnreadableError(danaconnect.Vendor, op, a, "it has no responseCode")
}

// unlistedError returns the error of a code that the vendor's page does not list
// for the operation. Only a status that refuses a request before it runs still
// proves that nothing happened.
func unlistedError(op string, a *clients.Answer) *clients.Error {
	switch a.Status {
	case http.StatusUnauthorized,
		http.StatusForbidden,
		http.StatusTooEarly,
		http.StatusTooManyRequests:
		return clients.StatusError(danaconnect.Vendor, op, a)
	}
	return &clients.Error{
		Vendor:  danaconnect.Vendor,
		Op:      op,
		Kind:    clients.Unknown,
		Status:  a.Status,
		Message: "the vendor's page does not list this code",
	}
}

// loginVerdict returns what an answer proves about user and password.
//
// A 403 proves nothing: it may come from the account's missing "special
// permission", from an address filter or from a gateway in front of the login.
// The task is parked as Credentials all the same. Nor does a 5xx prove that the
// login is good.
func loginVerdict(status int, rule Rule) admission.Verdict {
	switch {
	case rule.Login == admission.Refused, status == http.StatusUnauthorized:
		return admission.Refused
	case rule.Login == admission.Accepted && status != http.StatusForbidden && status < 500:
		return admission.Accepted
	}
	return admission.Inconclusive
}
