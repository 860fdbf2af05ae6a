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

// Only narrows a StatusRule to some of the answers with its statuses.
type Only string

// The ways to narrow a rule; "" is none.
const (
	// OncePost is the answer to a POST that must not be repeated: a 303 comes after
	// the work.
	OncePost Only = "a POST that must not be repeated"
	// SaysWhen is an answer with Retry-After. A gateway that lost its origin after it
	// forwarded the request sends the status alone; what asks for another try refused
	// this one before it ran.
	SaysWhen Only = "with `Retry-After`"
)

// matches reports whether an answer is one of those.
func (o Only) matches(a *Answer) bool {
	switch o {
	case "":
		return true
	case OncePost:
		return !a.Repeatable && (a.Method == http.MethodPost || a.Method == "")
	case SaysWhen:
		_, says := retryAfter(a.Header, MaxRetryAfter)
		return says
	}
	return false
}

// StatusRule says what a status means if the body says nothing.
type StatusRule struct {
	// From and To are the first and the last status of the rule.
	From    int
	To      int
	Only    Only
	Kind    Kind
	Message string
	// Wait says that a Retry-After header of such an answer is honoured.
	Wait bool
}

// statusRules is the table of all statuses; the first rule that matches applies.
// Unknown means that the effect may have happened: the queue, which knows whether
// the task is repeatable, retries it or ends it unknown. So does every 5xx that does
// not ask for another try: who answers may be a gateway that lost or gave up on the
// vendor after it had forwarded the request.
var statusRules = []StatusRule{
	{
		From:    200,
		To:      299,
		Kind:    Unknown,
		Message: "success is claimed but the answer does not say so",
	},
	{
		From:    300,
		To:      399,
		Only:    OncePost,
		Kind:    Unknown,
		Message: "the server redirects, perhaps after the work was done; redirects are not followed",
	},
	{
		From:    300,
		To:      399,
		Kind:    Invalid,
		Message: "the server redirects; redirects are not followed",
	},
	{
		From:    400,
		To:      400,
		Kind:    Invalid,
		Message: "the request is refused as malformed",
	},
	{
		From:    401,
		To:      401,
		Kind:    Credentials,
		Message: "the login is refused",
	},
	{
		From:    403,
		To:      403,
		Kind:    Credentials,
		Message: "access is refused: the account lacks the right, or this address is not allowed",
	},
	{
		From:    404,
		To:      404,
		Kind:    Invalid,
		Message: "there is no such address or object",
	},
	{
		From:    405,
		To:      405,
		Kind:    Invalid,
		Message: "the method is not allowed",
	},
	{
		From:    408,
		To:      408,
		Kind:    Unknown,
		Message: "the server gave up waiting; the request may have been carried out",
		Wait:    true,
	},
	{
		From:    413,
		To:      413,
		Kind:    Invalid,
		Message: "the request is too large",
	},
	{
		From:    415,
		To:      415,
		Kind:    Invalid,
		Message: "the content type is refused",
	},
	{
		From:    422,
		To:      422,
		Kind:    Invalid,
		Message: "the content is refused",
	},
	{
		From:    425,
		To:      425,
		Kind:    Blocked,
		Message: "refused as too early",
		Wait:    true,
	},
	{
		From:    429,
		To:      429,
		Kind:    Blocked,
		Message: "too many requests",
		Wait:    true,
	},
	{
		From:    400,
		To:      499,
		Kind:    Invalid,
		Message: "the request is refused",
	},
	{
		From:    503,
		To:      503,
		Only:    SaysWhen,
		Kind:    Temporary,
		Message: "the service is unavailable and says when to try again",
		Wait:    true,
	},
	{
		From:    500,
		To:      599,
		Kind:    Unknown,
		Message: "the server failed; the request may have been carried out",
		Wait:    true,
	},
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
		if a.Status < rule.From || a.Status > rule.To || !rule.Only.matches(a) {
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
	wait, _ := retryAfter(h, limit)
	return wait
}

// retryAfter is RetryAfter that also reports whether the header is there and can be
// read.
func retryAfter(h http.Header, limit time.Duration) (wait time.Duration, says bool) {
	raw := strings.TrimSpace(h.Get("Retry-After"))
	if raw == "" {
		return 0, false
	}
	if strings.Trim(raw, "0123456789") == "" {
		seconds, err := strconv.ParseInt(raw, 10, 64)
		if err != nil || seconds > int64(limit/time.Second) { // err: it overflows an int64
			return limit, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(raw)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), limit), true
}
