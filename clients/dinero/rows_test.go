package dinero_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
)

// expectation is what one answer to a call must mean. It repeats the table under
// test on purpose: a test that read the table would prove nothing.
type expectation struct {
	method     string
	status     int
	body       string
	kind       clients.Kind // done if the call succeeds
	code       string
	message    string
	verdict    admission.Verdict
	retryAfter time.Duration
	unlisted   bool
}

// done is the kind of a call that succeeds.
const done = clients.Kind(255)

// withCode returns an error body.
func withCode(code string) string {
	if code == "" {
		return ""
	}
	return `{"code":` + code + `,"message":"canary-customer-76","validationErrors":{}}`
}

const (
	noObject  = "there is no such address or object"
	noAccess  = "the account has no access to it"
	noPro     = "the organization has no active Pro subscription"
	failed    = "the server failed; the request may have been carried out"
	malformed = "the request is refused as malformed"
	invalid   = "the content is invalid"
	quota     = "the organization's quota is used up"
	brownOut  = "brown-out: the vendor is about to remove this endpoint and makes it fail at random until then"
)

var expectations = []expectation{
	{method: "GET", status: 200, body: `{}`, kind: done, verdict: admission.Accepted},
	{method: "POST", status: 201, body: `{}`, kind: done, verdict: admission.Accepted},
	{method: "PUT", status: 204, kind: done, verdict: admission.Accepted},
	{method: "GET", status: 299, body: `{}`, kind: done, verdict: admission.Accepted},
	{method: "DELETE", status: 404, body: withCode("40"), kind: done},
	{method: "DELETE", status: 404, kind: done},
	{method: "DELETE", status: 400, body: withCode("40"), kind: done},

	{method: "POST", status: 400, body: withCode("42"), kind: clients.Invalid, code: "42", message: invalid},
	{method: "POST", status: 400, body: withCode(`"42"`), kind: clients.Invalid, code: "42", message: invalid},
	{
		method:  "POST",
		status:  400,
		body:    withCode("43"),
		kind:    clients.Invalid,
		code:    "43",
		message: "a vendor limit is exceeded",
	},
	{
		method:  "POST",
		status:  400,
		body:    withCode("58"),
		kind:    clients.Declined,
		code:    "58",
		message: "the record was changed meanwhile: the Timestamp is no longer current",
	},
	{method: "POST", status: 400, body: withCode("41"), kind: clients.Credentials, code: "41", message: noAccess},
	{method: "POST", status: 400, body: withCode("40"), kind: clients.Invalid, code: "40", message: noObject},
	{method: "DELETE", status: 400, body: withCode("42"), kind: clients.Invalid, code: "42", message: invalid},
	{method: "POST", status: 400, kind: clients.Invalid, message: malformed},
	{method: "POST", status: 400, body: withCode("90"), kind: clients.Invalid, code: "90", message: malformed},
	{
		method:   "POST",
		status:   400,
		body:     withCode("77"),
		kind:     clients.Invalid,
		code:     "77",
		message:  malformed,
		unlisted: true,
	},
	{method: "POST", status: 400, body: withCode(`"canary-customer-76"`), kind: clients.Invalid, message: malformed},
	{
		method:  "POST",
		status:  403,
		body:    withCode("90"),
		kind:    clients.Credentials,
		code:    "90",
		message: noPro,
		verdict: admission.Refused,
	},
	{
		method:  "POST",
		status:  403,
		body:    withCode("48"),
		kind:    clients.Credentials,
		code:    "48",
		message: noPro,
		verdict: admission.Refused,
	},
	{method: "POST", status: 403, body: withCode("41"), kind: clients.Credentials, code: "41", message: noAccess},
	{method: "POST", status: 403, body: withCode("42"), kind: clients.Credentials, code: "42", message: noAccess},
	{
		method:   "POST",
		status:   403,
		body:     withCode("77"),
		kind:     clients.Credentials,
		code:     "77",
		message:  noAccess,
		unlisted: true,
	},
	{method: "POST", status: 403, kind: clients.Credentials, message: noAccess},
	{method: "DELETE", status: 403, kind: clients.Credentials, message: noAccess},
	{method: "GET", status: 404, body: withCode("40"), kind: clients.Invalid, code: "40", message: noObject},
	{
		method:     "POST",
		status:     429,
		body:       `API calls quota exceeded! maximum admitted 100 per Minute.`,
		kind:       clients.Blocked,
		message:    quota,
		retryAfter: time.Minute,
	},
	{method: "GET", status: 480, kind: clients.Temporary, code: "480", message: brownOut},
	{method: "GET", status: 502, kind: clients.Unknown, message: failed},
}

// codeIndependent are statuses that mean the same whatever code is in the body.
var codeIndependent = []expectation{
	{status: 401, kind: clients.Credentials, message: "the token is refused"},
	{status: 404, kind: clients.Invalid, message: noObject},
	{status: 413, kind: clients.Invalid, message: "the file is too large"},
	{status: 429, kind: clients.Blocked, message: quota, retryAfter: time.Minute},
	{status: 480, kind: clients.Temporary, code: "480", message: brownOut},
	{status: 500, kind: clients.Unknown, message: failed},
	{status: 503, kind: clients.Unknown, message: failed},
	{status: 599, kind: clients.Unknown, message: failed},
}

// unlistedStatuses are next to the rows of the table and in none of them. They mean
// the same for every vendor.
var unlistedStatuses = []int{199, 300, 302, 399, 402, 405, 408, 409, 412, 414, 425, 428, 430, 479, 481, 499, 600, 700}

func allExpectations() []expectation {
	all := slices.Clone(expectations)
	for _, code := range []string{"", "40", "41", "42", "43", "48", "58", "90"} {
		for _, want := range codeIndependent {
			want.method = "POST"
			want.body = withCode(code)
			want.code = cmp.Or(code, want.code)
			all = append(all, want)
		}
		for _, status := range unlistedStatuses {
			for _, method := range []string{"POST", "DELETE"} {
				e := clients.StatusError(dinero.Vendor, dinero.OpCall, &clients.Answer{Status: status, Method: method})
				want := expectation{
					method:   method,
					status:   status,
					body:     withCode(code),
					kind:     e.Kind,
					code:     code,
					message:  e.Message,
					unlisted: true,
				}
				if status > 599 {
					want.code = ""
				}
				all = append(all, want)
			}
		}
	}
	return append(all, expectation{
		method:  "DELETE",
		status:  401,
		body:    withCode("40"),
		kind:    clients.Credentials,
		code:    "40",
		message: "the token is refused",
	})
}

// difference makes a call that gets the answer, and describes how its meaning
// differs from the expectation; "" if it does not.
func (want expectation) difference(t *testing.T) string {
	t.Helper()
	f := &fixture{source: &source{}, breaker: &clientstest.Gate{}}
	f.connectThrough(
		t,
		"https://dinero.example/",
		clients.NewCaller(
			dinero.Vendor,
			clients.Timeouts{},
			clientstest.Canned{Status: want.status, Body: want.body},
			nil,
		),
	)
	answer, err := f.client.Call(t.Context(), dinero.Request{
		Organization: org,
		Method:       want.method,
		Path:         "invoices/x",
		Body:         json.RawMessage(`{}`),
	})
	if got := f.breaker.Verdicts(); !slices.Equal(got, []admission.Verdict{want.verdict}) {
		return fmt.Sprintf("the verdicts are %v, want %v", got, want.verdict)
	}
	wantBody := want.body
	if !json.Valid([]byte(wantBody)) || want.status > 599 { // outside of HTTP it is not read
		wantBody = ""
	}
	if answer.Status != want.status || string(answer.Body) != wantBody {
		return fmt.Sprintf("answer %d %s", answer.Status, answer.Body)
	}
	if want.kind == done {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	e, ok := clients.AsError(err)
	wantErr := clients.Error{
		Vendor:     dinero.Vendor,
		Op:         dinero.OpCall,
		Status:     want.status,
		Kind:       want.kind,
		Code:       want.code,
		Message:    want.message,
		RetryAfter: want.retryAfter,
		Unlisted:   want.unlisted,
	}
	if !ok || *e != wantErr {
		return fmt.Sprintf("%#v, want %#v", err, wantErr)
	}
	return ""
}

func TestMeaningOfAnswers(t *testing.T) {
	t.Parallel()
	for _, want := range allExpectations() {
		if diff := want.difference(t); diff != "" {
			t.Errorf("%s %d %s: %s", want.method, want.status, want.body, diff)
		}
	}
}

func TestEveryRowCounts(t *testing.T) {
	all := allExpectations()
	differs := func() string {
		for _, want := range all {
			if diff := want.difference(t); diff != "" {
				return diff
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(t, dinero.Table(), differs, func(r dinero.Rule, field string) bool {
		switch field {
		case "From": // an earlier row matches the status that such a row gains
			return r.From == 400 && r.To == 401 || r.From == 403 && r.To == 404
		case "Kind", "Message":
			return r.Done || r.ByStatus
		case "ByStatus":
			return r.Done || r.From == 404 // which means the same for every vendor
		case "RetryAfter":
			return r.Done || r.ByStatus ||
				!slices.Contains([]clients.Kind{clients.Blocked, clients.Temporary, clients.Unknown}, r.Kind)
		case "StatusAsCode":
			return r.Done || r.ByStatus || r.Code != "" // then the body has a code
		}
		return false
	})
}
