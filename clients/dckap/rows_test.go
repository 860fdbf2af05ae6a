package dckap_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
	"errand.internal/internal/tokens"
)

// meaning is what one answer means, written out a second time: the test would be
// empty if it read the table under test.
type meaning struct {
	ruled            bool // the pipe has a success rule
	status           int
	body             string
	kind             clients.Kind // done for none
	message          string
	credential, pipe tokens.AuthResult
	wait             bool // Retry-After is honoured
	verified         bool
	unlisted         bool
}

const done = clients.Kind(255)

const (
	good   = `{"data":{"id":"r1"}}`
	bad    = `{"data":{"id":"r1"},"status":"failed"}`
	unmet  = `{"data":{}}`
	noJSON = `<html>`
)

const (
	reported   = "the pipe reports a failure"
	misses     = "the answer does not meet the pipe's success rule"
	unreadable = "the answer cannot be read: it is a web page"
)

var meanings = []meaning{
	{
		false,
		400,
		good,
		clients.Credentials,
		"the pipe is disabled",
		tokens.Inconclusive,
		tokens.Refused,
		false,
		false,
		false,
	},
	{
		false,
		401,
		good,
		clients.Credentials,
		"the credential is refused",
		tokens.Refused,
		tokens.Inconclusive,
		false,
		false,
		false,
	},
	{
		false,
		403,
		``,
		clients.Credentials,
		"access is refused: the account lacks the right, or this address is not on the allow-list",
		tokens.Inconclusive,
		tokens.Inconclusive,
		false,
		false,
		false,
	},
	{
		false,
		404,
		``,
		clients.Invalid,
		"there is no such listener",
		tokens.Inconclusive,
		tokens.Inconclusive,
		false,
		false,
		false,
	},
	{
		false,
		408,
		``,
		clients.Unknown,
		"the server gave up waiting; the pipe may have run",
		tokens.Inconclusive,
		tokens.Inconclusive,
		true,
		false,
		false,
	},
	{false, 429, ``, clients.RateLimited, "too many requests", tokens.Inconclusive, tokens.Inconclusive, true, false, false},
	{
		false,
		500,
		good,
		clients.Temporary,
		"the platform failed",
		tokens.Inconclusive,
		tokens.Inconclusive,
		true,
		false,
		false,
	},
	{false, 503, ``, clients.Temporary, "the platform failed", tokens.Inconclusive, tokens.Inconclusive, true, false, false},
	{
		false,
		504,
		``,
		clients.Unknown,
		"a gateway gave up waiting; the pipe may have run",
		tokens.Inconclusive,
		tokens.Inconclusive,
		true,
		false,
		false,
	},
	{false, 505, ``, clients.Temporary, "the platform failed", tokens.Inconclusive, tokens.Inconclusive, true, false, false},
	{false, 599, ``, clients.Temporary, "the platform failed", tokens.Inconclusive, tokens.Inconclusive, true, false, false},
}

// unlistedStatuses are decided as for all vendors; they stand around the rows.
var unlistedStatuses = []int{199, 300, 302, 399, 402, 405, 407, 409, 425, 428, 430, 499, 600}

// allMeanings adds what a 2xx means, whichever it is, and what no row lists,
// whatever the body.
func allMeanings() []meaning {
	all := slices.Clone(meanings)
	for _, status := range []int{200, 201, 299} {
		all = append(
			all,
			meaning{true, status, good, done, "", tokens.Accepted, tokens.Accepted, false, true, false},
			meaning{false, status, good, done, "", tokens.Accepted, tokens.Accepted, false, false, false},
			meaning{false, status, bad, clients.Failed, reported, tokens.Accepted, tokens.Accepted, true, false, false},
			meaning{
				true,
				status,
				bad,
				clients.Failed,
				reported,
				tokens.Accepted,
				tokens.Accepted,
				true,
				false,
				false,
			}, // though the rule is met
			meaning{true, status, unmet, clients.Failed, misses, tokens.Accepted, tokens.Accepted, true, false, false},
			meaning{
				false,
				status,
				noJSON,
				clients.Unknown,
				unreadable,
				tokens.Inconclusive,
				tokens.Inconclusive,
				true,
				false,
				false,
			},
			meaning{
				true,
				status,
				noJSON,
				clients.Unknown,
				unreadable,
				tokens.Inconclusive,
				tokens.Inconclusive,
				true,
				false,
				false,
			},
		)
	}
	for _, status := range unlistedStatuses {
		e := clients.StatusError(dckap.Vendor, dckap.OpCall, &clients.Answer{Status: status, Header: retryAfter})
		for _, body := range []string{good, bad, unmet, noJSON} {
			for _, ruled := range []bool{false, true} {
				all = append(
					all,
					meaning{
						ruled,
						status,
						body,
						e.Kind,
						e.Message,
						tokens.Inconclusive,
						tokens.Inconclusive,
						e.RetryAfter > 0,
						false,
						true,
					},
				)
			}
		}
	}
	return all
}

var retryAfter = http.Header{"Retry-After": {"11"}}

// differs makes a call that is answered so, and tells what means something else;
// "" if nothing does.
func (m meaning) differs(t *testing.T, pipes string) string {
	t.Helper()
	f := &fixture{credential: &clientstest.Gate{}, pipe: &clientstest.Gate{}}
	if !m.ruled {
		pipes = ""
	}
	canned := clientstest.Canned{Status: m.status, Header: retryAfter, Body: m.body}
	f.dial(
		t,
		config("https://dckap.example/", dckap.Bearer, pipes),
		clients.NewCaller(dckap.Vendor, clients.Limits{}, canned, nil),
	)
	answer, err := f.client.Call(t.Context(), order())
	if c, p := f.credential.Verdicts(), f.pipe.Verdicts(); !slices.Equal(c, []tokens.AuthResult{m.credential}) ||
		!slices.Equal(p, []tokens.AuthResult{m.pipe}) {
		return fmt.Sprintf("the gates hear %v and %v, want %v and %v", c, p, m.credential, m.pipe)
	}
	if answer.Status != m.status || answer.Verified != m.verified ||
		json.Valid([]byte(m.body)) && string(answer.Body) != m.body {
		return fmt.Sprintf("answer %d %s, verified %v", answer.Status, answer.Body, answer.Verified)
	}
	if m.kind == done {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	e, ok := clients.AsError(err)
	want := clients.Error{
		Vendor:   dckap.Vendor,
		Op:       dckap.OpCall,
		Status:   m.status,
		Kind:     m.kind,
		Message:  m.message,
		Unlisted: m.unlisted,
	}
	if m.wait {
		want.RetryAfter = 11 * time.Second
	}
	if !ok || *e != want {
		return fmt.Sprintf("%#v, want %#v", err, want)
	}
	return ""
}

func TestEveryRuleHasItsMeaning(t *testing.T) {
	t.Parallel()
	pipes := pipesFile(t, ruled)
	for _, m := range allMeanings() {
		if why := m.differs(t, pipes); why != "" {
			t.Errorf("%d %s, with a rule %v: %s", m.status, m.body, m.ruled, why)
		}
	}
}

func TestEveryRowCounts(t *testing.T) {
	all, pipes := allMeanings(), pipesFile(t, ruled)
	differs := func() string {
		for _, m := range all {
			if why := m.differs(t, pipes); why != "" {
				return why
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(t, dckap.Table(), differs, func(r dckap.Rule, field string) bool {
		earlier := field == "From" &&
			(r.From == 400 && r.To == 401 || r.From == 403 && r.To == 404) // another row has all of the former
		return earlier || r.Done && (field == "Kind" || field == "Message")
	})
}
