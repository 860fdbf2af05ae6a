package danaconnect

import (
	"net/http"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// otpReply is the vendor's resultOTPJSON, of both operations.
type otpReply struct {
	IDRequest             clients.Text `json:"idRequest"`
	ResponseCode          clients.Text `json:"responseCode"`
	ConversationRequestID clients.Text `json:"conversationRequestId"` // verify's table does not promise it
}

// reading is what one answer means.
type reading struct {
	status  int
	reply   otpReply
	verdict Verdict
	login   tokens.AuthResult
	err     *clients.Error // nil: done
}

// read tells what an answer means: the code in the body first, the status where
// the body says nothing.
func read(op string, a *clients.Answer) reading {
	r := reading{status: a.Status}
	undecoded := clients.DecodeObject(a, &r.reply)
	code := normalize(r.reply.ResponseCode)
	if undecoded != nil || code == "" {
		r.reply = otpReply{} // half a reply is none
		r.login = loginOf(a.Status, Rule{})
		r.err = silentBody(op, a, undecoded)
		return r
	}
	rule, listed := findRule(op, code)
	r.login = loginOf(a.Status, rule)
	switch {
	case !listed:
		r.err = unlisted(op, a)
	case !rule.Success:
		// A failure code counts whatever the status: "06" with 200 is a refused
		// login, and "04" of a verify with 500 still is a wrong code.
		r.verdict = rule.Verdict
		r.err = &clients.Error{Kind: rule.Kind, Message: rule.Message}
		if rule.Kind == clients.Temporary {
			r.err.RetryAfter = clients.RetryAfter(a.Header, clients.MaxRetryAfter)
		}
	case a.Status < 200 || a.Status > 299:
		r.err = &clients.Error{
			Kind:    clients.Unknown,
			Message: "code 01 claims success, the status says the opposite",
		}
		if r.login == tokens.Accepted {
			r.login = tokens.Inconclusive
		}
	default:
		r.verdict = rule.Verdict
	}
	if r.err != nil {
		r.err.Vendor = Vendor
		r.err.Op = op
		r.err.Status = a.Status
		r.err.Code = r.reply.ResponseCode.Code()
	}
	return r
}

// silentBody is an answer without a code.
func silentBody(op string, a *clients.Answer, undecoded error) *clients.Error {
	switch {
	case a.Status < 200 || a.Status > 299:
		return clients.StatusError(Vendor, op, a)
	case undecoded != nil:
		return clients.UnreadableError(Vendor, op, a, undecoded.Error())
	}
	return clients.UnreadableError(Vendor, op, a, "it has no responseCode")
}

// unlisted is a code that the vendor's page does not list for the operation.
// Only the statuses that refuse a request before it runs can still say that
// nothing happened.
func unlisted(op string, a *clients.Answer) *clients.Error {
	switch a.Status {
	case http.StatusUnauthorized,
		http.StatusForbidden,
		http.StatusTooEarly,
		http.StatusTooManyRequests:
		return clients.StatusError(Vendor, op, a)
	}
	return &clients.Error{
		Kind:    clients.Unknown,
		Message: "the vendor's page does not list this code",
	}
}

// loginOf tells what an answer proves about user and password.
//
// A 403 is no verdict: it may come from the missing "special permission" of the
// account, from an address filter or from a gateway in front of the login, so
// it proves the password neither right nor wrong. The task is parked as
// Credentials all the same. A 5xx proves nothing good.
func loginOf(status int, rule Rule) tokens.AuthResult {
	switch {
	case rule.Login == LoginRefused, status == http.StatusUnauthorized:
		return tokens.Refused
	case rule.Login == LoginWorked && status != http.StatusForbidden && status < 500:
		return tokens.Accepted
	}
	return tokens.Inconclusive
}
