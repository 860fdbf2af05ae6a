package dckap_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
)

// expectation is what one answer must mean. It repeats the table under test on
// purpose: a test that read the table would prove nothing.
type expectation struct {
	status     int
	body       string
	hasRule    bool         // the pipe has a success rule
	kind       clients.Kind // done if the call succeeds
	message    string
	credential admission.Verdict
	pipe       admission.Verdict
	retryAfter bool // Retry-After is honoured
	verified   bool
	unlisted   bool
}

// done is the kind of a call that succeeds.
const done = clients.Kind(255)

const serverFailed = "the server failed; the request may have been carried out"

// Bodies of answers.
const (
	good   = `{"data":{"id":"r1"}}`
	failed = `{"data":{"id":"r1"},"status":"failed"}`
	unmet  = `{"data":{}}`
	noJSON = `<html>`
)

var expectations = []expectation{
	{status: 400, body: good, kind: clients.Credentials, message: "the pipe is disabled", pipe: admission.Refused},
	{status: 401, body: good, kind: clients.Credentials, message: "the credential is refused", credential: admission.Refused},
	{
		status:  403,
		kind:    clients.Credentials,
		message: "access is refused: the account lacks the permission, or this address is not on the allow-list",
	},
	{status: 404, kind: clients.Invalid, message: "there is no such listener"},
	{status: 429, kind: clients.Blocked, message: "too many requests", retryAfter: true},
	{status: 500, body: good, kind: clients.Unknown, message: serverFailed, retryAfter: true},
	{status: 502, kind: clients.Unknown, message: serverFailed, retryAfter: true},
	{
		status:     503,
		kind:       clients.Temporary,
		message:    "the service is unavailable and says when to try again",
		retryAfter: true,
	},
	{status: 504, kind: clients.Unknown, message: serverFailed, retryAfter: true},
	{status: 524, kind: clients.Unknown, message: serverFailed, retryAfter: true},
	{status: 599, kind: clients.Unknown, message: serverFailed, retryAfter: true},
}

// successExpectations are what a 2xx must mean; its status is added later.
var successExpectations = []expectation{
	{
		body:       good,
		hasRule:    true,
		kind:       done,
		credential: admission.Accepted,
		pipe:       admission.Accepted,
		verified:   true,
	},
	{body: good, kind: done, credential: admission.Accepted, pipe: admission.Accepted},
	{
		body:       failed,
		kind:       clients.Failed,
		message:    "the pipe reports a failure",
		credential: admission.Accepted,
		pipe:       admission.Accepted,
		retryAfter: true,
	},
	{
		body:       failed,
		hasRule:    true, // and the answer meets it
		kind:       clients.Failed,
		message:    "the pipe reports a failure",
		credential: admission.Accepted,
		pipe:       admission.Accepted,
		retryAfter: true,
	},
	{
		body:       unmet,
		hasRule:    true,
		kind:       clients.Failed,
		message:    "the answer does not meet the pipe's success rule",
		credential: admission.Accepted,
		pipe:       admission.Accepted,
		retryAfter: true,
	},
	{
		body:       noJSON,
		kind:       clients.Unknown,
		message:    "the answer cannot be read: it is a web page",
		retryAfter: true,
	},
	{
		body:       noJSON,
		hasRule:    true,
		kind:       clients.Unknown,
		message:    "the answer cannot be read: it is a web page",
		retryAfter: true,
	},
}

// unlistedStatuses are next to the rows of the table and in none of them.
var unlistedStatuses = []int{199, 300, 302, 399, 402, 405, 407, 408, 409, 425, 428, 430, 499, 600}

// allExpectations adds every kind of 2xx, and the unlisted statuses, which mean
// the same for every vendor and body.
func allExpectations() []expectation {
	all := slices.Clone(expectations)
	for _, status := range []int{200, 201, 299} {
		for _, want := range successExpectations {
			want.status = status
			all = append(all, want)
		}
	}
	for _, status := range unlistedStatuses {
		e := clients.StatusError(dckap.Vendor, dckap.OpCall, &clients.Answer{Status: status, Header: retryAfter})
		for _, body := range []string{good, failed, unmet, noJSON} {
			for _, hasRule := range []bool{false, true} {
				all = append(all, expectation{
					status:     status,
					body:       body,
					hasRule:    hasRule,
					kind:       e.Kind,
					message:    e.Message,
					retryAfter: e.RetryAfter > 0,
					unlisted:   true,
				})
			}
		}
	}
	return all
}

var retryAfter = http.Header{"Retry-After": {"11"}}

// difference makes a call that gets the answer, and describes how its meaning
// differs from the expectation; "" if it does not.
func (want expectation) difference(t *testing.T, pipes string) string {
	t.Helper()
	f := &fixture{credential: &clientstest.Gate{}, pipe: &clientstest.Gate{}}
	if !want.hasRule {
		pipes = ""
	}
	canned := clientstest.Canned{Status: want.status, Header: retryAfter, Body: want.body}
	f.connectThrough(
		t,
		config("https://dckap.example/", dckap.Bearer, pipes),
		clients.NewCaller(dckap.Vendor, clients.Timeouts{}, canned, nil),
	)
	answer, err := f.client.Call(t.Context(), order())
	if c, p := f.credential.Verdicts(), f.pipe.Verdicts(); !slices.Equal(c, []admission.Verdict{want.credential}) ||
		!slices.Equal(p, []admission.Verdict{want.pipe}) {
		return fmt.Sprintf("the verdicts are %v and %v, want %v and %v", c, p, want.credential, want.pipe)
	}
	wantBody := want.body
	if !json.Valid([]byte(wantBody)) || want.status > 599 { // outside of HTTP it is not read
		wantBody = ""
	}
	if answer.Status != want.status || answer.Verified != want.verified || string(answer.Body) != wantBody {
		return fmt.Sprintf("answer %d %s, verified %v", answer.Status, answer.Body, answer.Verified)
	}
	if want.kind == done {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	e, ok := clients.AsError(err)
	wantErr := clients.Error{
		Vendor:   dckap.Vendor,
		Op:       dckap.OpCall,
		Status:   want.status,
		Kind:     want.kind,
		Message:  want.message,
		Unlisted: want.unlisted,
	}
	if want.retryAfter {
		wantErr.RetryAfter = 11 * time.Second
	}
	if !ok || *e != wantErr {
		return fmt.Sprintf("%#v, want %#v", err, wantErr)
	}
	return ""
}

func TestMeaningOfAnswers(t *testing.T) {
	t.Parallel()
	pipes := pipesFile(t, withRule)
	for _, want := range allExpectations() {
		if diff := want.difference(t, pipes); diff != "" {
			t.Errorf("%d %s, with a rule %v: %s", want.status, want.body, want.hasRule, diff)
		}
	}
}

func TestEveryRowCounts(t *testing.T) {
	all, pipes := allExpectations(), pipesFile(t, withRule)
	differs := func() string {
		for _, want := range all {
			if diff := want.difference(t, pipes); diff != "" {
				return diff
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(t, dckap.Table(), differs, func(r dckap.Rule, field string) bool {
		// An earlier row matches the status that such a row gains.
		earlier := field == "From" && (r.From == 400 && r.To == 401 || r.From == 403 && r.To == 404)
		return earlier || (r.Done || r.ByStatus) && (field == "Kind" || field == "Message") ||
			field == "ByStatus" && (r.Done || r.From == 429) // which means the same for every vendor
	})
}
