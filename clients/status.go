package clients

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that a Retry-After header may request. The
// queue also caps it at what is left of the task's budget.
const MaxRetryAfter = 24 * time.Hour

// StatusRule says what a status means if the body says nothing.
type StatusRule struct {
	// From and To are the first and the last status of the rule.
	From    int
	To      int
	Kind    Kind
	Message string
	// Wait says that a Retry-After header of such an answer is honoured.
	Wait bool
}

// statusRules is the table of all statuses; the first rule that matches applies.
// Unknown means that the effect may have happened: the queue, which knows whether
// the task is repeatable, retries it or ends it unknown.
var statusRules = []StatusRule{
	{200, 299, Unknown, "success is claimed but the answer does not say so", false},
	{300, 399, Invalid, "the server redirects; redirects are not followed", false},
	{400, 400, Invalid, "the request is refused as malformed", false},
	{401, 401, Credentials, "the login is refused", false},
	{403, 403, Credentials, "access is refused: the account lacks the right, or this address is not allowed", false},
	{404, 404, Invalid, "there is no such address or object", false},
	{405, 405, Invalid, "the method is not allowed", false},
	{408, 408, Unknown, "the server gave up waiting; the request may have been carried out", true},
	{413, 413, Invalid, "the request is too large", false},
	{415, 415, Invalid, "the content type is refused", false},
	{422, 422, Invalid, "the content is refused", false},
	{425, 425, RateLimited, "refused as too early", true},
	{429, 429, RateLimited, "too many requests", true},
	{400, 499, Invalid, "the request is refused", false},
	{503, 503, Temporary, "the service is unavailable", true},
	{500, 599, Unknown, "the server failed; the request may have been carried out", true},
}

// StatusRules returns a copy of the table, for tests and documentation.
func StatusRules() []StatusRule {
	return slices.Clone(statusRules)
}

// StatusError returns the Error that an answer means by its status alone. Call it
// only if the body says nothing: for a 2xx it reports Unknown.
func StatusError(vendor, op string, a *Answer) *Error {
	e := &Error{
		Vendor:  vendor,
		Op:      op,
		Status:  a.Status,
		Kind:    Unknown,
		Message: "the status is outside of HTTP; the request may have been carried out",
	}
	for _, rule := range statusRules {
		if a.Status < rule.From || a.Status > rule.To {
			continue
		}
		e.Kind = rule.Kind
		e.Message = rule.Message
		if rule.Wait {
			e.RetryAfter = RetryAfter(a.Header, MaxRetryAfter)
		}
		break
	}
	return e
}

// UnreadableError returns the Error for a 2xx answer whose body cannot be read: the
// effect may have happened. why quotes nothing of the body; see DecodeObject.
func UnreadableError(vendor, op string, a *Answer, why string) *Error {
	return &Error{
		Vendor:  vendor,
		Op:      op,
		Status:  a.Status,
		Kind:    Unknown,
		Message: "the answer cannot be read: " + why,
	}
}

// RetryAfter reads a Retry-After header, in seconds or as any HTTP date, and clamps
// it to 0..limit. A date is relative to the answer's own Date header, because the
// clocks of two machines differ; without that header it is relative to the local
// clock. A missing or unreadable header means 0.
func RetryAfter(h http.Header, limit time.Duration) time.Duration {
	raw := strings.TrimSpace(h.Get("Retry-After"))
	if raw == "" {
		return 0
	}
	if strings.Trim(raw, "0123456789") == "" {
		seconds, err := strconv.ParseInt(raw, 10, 64)
		if err != nil || seconds > int64(limit/time.Second) { // err: it overflows an int64
			return limit
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(raw)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), limit)
}
