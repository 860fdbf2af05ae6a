package anna

import (
	"net/http"

	"errand.internal/clients"
)

// sight is what an answer shows: the row of the table in VENDORS §2.
type sight uint8

const (
	sawStatus        sight = iota // not 2xx: the status decides
	sawSuccess                    // 2xx, success:true
	sawRefusal                    // 2xx, success:false
	sawNothing                    // 2xx, success missing or no boolean, or no JSON object
	sawContradiction              // 5xx, success:true
)

// look reads an answer, body before status. why says what is wrong with a body
// that tells nothing.
func look(a *clients.Answer) (body reply, seen sight, why string) {
	if err := clients.DecodeObject(a, &body); err != nil {
		body, why = reply{}, err.Error()
	}
	body.status, body.object = a.Status, why == ""
	success := string(body.Success)
	switch {
	case a.Status >= http.StatusInternalServerError && success == "true":
		return body, sawContradiction, ""
	case a.Status < http.StatusOK || a.Status >= http.StatusMultipleChoices:
		return body, sawStatus, ""
	case success == "true":
		return body, sawSuccess, ""
	case success == "false":
		return body, sawRefusal, ""
	case why == "":
		why = "success is missing or no boolean"
	}
	return body, sawNothing, why
}

// judge turns an answer into the operation's outcome; nil means success.
func (c *Client) judge(
	r rule,
	a *clients.Answer,
	settled func(reply) bool,
) (reply, error) {
	body, seen, why := look(a)
	switch seen {
	case sawSuccess:
		return body, nil
	case sawRefusal:
		if settled != nil && settled(body) {
			return body, nil
		}
		return reply{}, c.verdictError(r.op, a.Status, r.refused)
	case sawNothing:
		v := r.unreadable
		v.Message += ": " + why
		return reply{}, c.verdictError(r.op, a.Status, v)
	case sawContradiction:
		return reply{}, c.verdictError(r.op, a.Status, contradicted)
	default:
		return reply{}, clients.StatusError(c.caller.Vendor(), r.op, a)
	}
}

// verdictError never carries the vendor's message: it names the company hash
// and the user.
func (e endpoint) verdictError(op string, status int, v verdict) *clients.Error {
	return &clients.Error{
		Vendor:     e.caller.Vendor(),
		Op:         op,
		Kind:       v.Kind,
		Status:     status,
		Message:    v.Message,
		RetryAfter: v.RetryAfter,
	}
}
