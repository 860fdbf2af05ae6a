package dinero_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
	"errand.internal/internal/tokens"
)

// meaning is what one answer to a call means, written out a second time: the
// test would be empty if it read the table under test.
type meaning struct {
	method, body string
	status       int
	kind         clients.Kind // done for none
	code         string
	message      string
	gate         tokens.AuthResult
	wait         time.Duration
	unlisted     bool
}

const done = clients.Kind(255)

func coded(code string) string {
	if code == "" {
		return ""
	}
	return `{"code":` + code + `,"message":"canary-customer-76","validationErrors":{}}`
}

const (
	noObject = "there is no such address or object"
	noAccess = "the account has no access to it"
	noPro    = "the organization has no active Pro subscription"
	failed   = "the server failed; the request may have been carried out"
)

var meanings = []meaning{
	{"GET", `{}`, 200, done, "", "", tokens.Accepted, 0, false},
	{"POST", `{}`, 201, done, "", "", tokens.Accepted, 0, false},
	{"PUT", ``, 204, done, "", "", tokens.Accepted, 0, false},
	{"GET", `{}`, 299, done, "", "", tokens.Accepted, 0, false},
	{"DELETE", coded("40"), 404, done, "", "", tokens.Inconclusive, 0, false},
	{"DELETE", ``, 404, done, "", "", tokens.Inconclusive, 0, false},
	{"DELETE", coded("40"), 400, done, "", "", tokens.Inconclusive, 0, false},

	{"POST", coded("42"), 400, clients.Invalid, "42", "the vendor finds the content wrong", tokens.Inconclusive, 0, false},
	{
		"POST",
		coded(`"42"`),
		400,
		clients.Invalid,
		"42",
		"the vendor finds the content wrong",
		tokens.Inconclusive,
		0,
		false,
	},
	{"POST", coded("43"), 400, clients.Invalid, "43", "a limit of the vendor is exceeded", tokens.Inconclusive, 0, false},
	{
		"POST",
		coded("58"),
		400,
		clients.Declined,
		"58",
		"somebody else changed it meanwhile: the Timestamp is no longer the current one",
		tokens.Inconclusive,
		0,
		false,
	},
	{"POST", coded("41"), 400, clients.Credentials, "41", noAccess, tokens.Inconclusive, 0, false},
	{"POST", coded("40"), 400, clients.Invalid, "40", noObject, tokens.Inconclusive, 0, false},
	{
		"DELETE",
		coded("42"),
		400,
		clients.Invalid,
		"42",
		"the vendor finds the content wrong",
		tokens.Inconclusive,
		0,
		false,
	},
	{"POST", ``, 400, clients.Invalid, "", "the request is refused as malformed", tokens.Inconclusive, 0, false},
	{
		"POST",
		coded("90"),
		400,
		clients.Invalid,
		"90",
		"the request is refused as malformed",
		tokens.Inconclusive,
		0,
		false,
	},
	{"POST", coded("77"), 400, clients.Invalid, "77", "the request is refused as malformed", tokens.Inconclusive, 0, true},
	{
		"POST",
		coded(`"canary-customer-76"`),
		400,
		clients.Invalid,
		"",
		"the request is refused as malformed",
		tokens.Inconclusive,
		0,
		false,
	},
	{"POST", coded("90"), 403, clients.Credentials, "90", noPro, tokens.Refused, 0, false},
	{"POST", coded("48"), 403, clients.Credentials, "48", noPro, tokens.Refused, 0, false},
	{"POST", coded("41"), 403, clients.Credentials, "41", noAccess, tokens.Inconclusive, 0, false},
	{"POST", coded("42"), 403, clients.Credentials, "42", noAccess, tokens.Inconclusive, 0, false},
	{"POST", coded("77"), 403, clients.Credentials, "77", noAccess, tokens.Inconclusive, 0, true},
	{"POST", ``, 403, clients.Credentials, "", noAccess, tokens.Inconclusive, 0, false},
	{"DELETE", ``, 403, clients.Credentials, "", noAccess, tokens.Inconclusive, 0, false},
	{"GET", coded("40"), 404, clients.Invalid, "40", noObject, tokens.Inconclusive, 0, false},
	{
		"POST",
		`API calls quota exceeded! maximum admitted 100 per Minute.`,
		429,
		clients.RateLimited,
		"",
		"the organization's quota is used up",
		tokens.Inconclusive,
		time.Minute,
		false,
	},
	{"GET", ``, 480, clients.Temporary, "480", brownOut, tokens.Inconclusive, 0, false},
	{"GET", ``, 502, clients.Unknown, "", failed, tokens.Inconclusive, 0, false},
}

const brownOut = "brown-out: the vendor is about to remove this endpoint, and lets it fail at random until then"

// anyCode are statuses that mean the same whatever code is in the body.
var anyCode = []meaning{
	{"", "", 401, clients.Credentials, "", "the token is refused", tokens.Inconclusive, 0, false},
	{"", "", 404, clients.Invalid, "", noObject, tokens.Inconclusive, 0, false},
	{"", "", 413, clients.Invalid, "", "the file is too large", tokens.Inconclusive, 0, false},
	{"", "", 429, clients.RateLimited, "", "the organization's quota is used up", tokens.Inconclusive, time.Minute, false},
	{"", "", 480, clients.Temporary, "480", brownOut, tokens.Inconclusive, 0, false},
	{"", "", 500, clients.Unknown, "", failed, tokens.Inconclusive, 0, false},
	{"", "", 503, clients.Unknown, "", failed, tokens.Inconclusive, 0, false},
	{"", "", 599, clients.Unknown, "", failed, tokens.Inconclusive, 0, false},
}

// unlistedStatuses are decided as for all vendors; they stand around the rows.
var unlistedStatuses = []int{199, 300, 302, 399, 402, 405, 408, 409, 412, 414, 425, 428, 430, 479, 481, 499, 600, 700}

func allMeanings() []meaning {
	all := slices.Clone(meanings)
	for _, code := range []string{"", "40", "41", "42", "43", "48", "58", "90"} {
		for _, m := range anyCode {
			m.method = "POST"
			m.body = coded(code)
			m.code = cmp.Or(code, m.code)
			all = append(all, m)
		}
		for _, status := range unlistedStatuses {
			e := clients.StatusError(dinero.Vendor, dinero.OpCall, &clients.Answer{Status: status})
			m := meaning{"POST", coded(code), status, e.Kind, code, e.Message, tokens.Inconclusive, 0, true}
			all = append(all, m)
			if m.method = "DELETE"; code == "" || code == "40" {
				all = append(all, m)
			}
		}
	}
	return append(
		all,
		meaning{
			"DELETE",
			coded("40"),
			401,
			clients.Credentials,
			"40",
			"the token is refused",
			tokens.Inconclusive,
			0,
			false,
		},
	)
}

// differs makes a call that is answered so, and tells what means something else;
// "" if nothing does.
func (m meaning) differs(t *testing.T) string {
	t.Helper()
	f := &fixture{source: &source{}, gate: &clientstest.Gate{}}
	f.dial(
		t,
		"https://dinero.example/",
		clients.NewCaller(dinero.Vendor, clients.Limits{}, clientstest.Canned{Status: m.status, Body: m.body}, nil),
	)
	answer, err := f.client.Call(t.Context(), dinero.Request{
		Organization: org,
		Method:       m.method,
		Path:         "invoices/x",
		Body:         json.RawMessage(`{}`),
	})
	if said := f.gate.Verdicts(); !slices.Equal(said, []tokens.AuthResult{m.gate}) {
		return fmt.Sprintf("the gate hears %v, want %v", said, m.gate)
	}
	if answer.Status != m.status || (json.Valid([]byte(m.body)) && string(answer.Body) != m.body) {
		return fmt.Sprintf("answer %d %s", answer.Status, answer.Body)
	}
	if m.kind == done {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	e, ok := clients.AsError(err)
	want := clients.Error{
		Vendor:     dinero.Vendor,
		Op:         dinero.OpCall,
		Status:     m.status,
		Kind:       m.kind,
		Code:       m.code,
		Message:    m.message,
		RetryAfter: m.wait,
		Unlisted:   m.unlisted,
	}
	if !ok || *e != want {
		return fmt.Sprintf("%#v, want %#v", err, want)
	}
	return ""
}

func TestEveryRuleHasItsMeaning(t *testing.T) {
	t.Parallel()
	for _, m := range allMeanings() {
		if why := m.differs(t); why != "" {
			t.Errorf("%s %d %s: %s", m.method, m.status, m.body, why)
		}
	}
}

func TestEveryRowCounts(t *testing.T) {
	all := allMeanings()
	differs := func() string {
		for _, m := range all {
			if why := m.differs(t); why != "" {
				return why
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(t, dinero.Table(), differs, func(r dinero.Rule, field string) bool {
		switch field {
		case "From":
			return r.From == 400 && r.To == 401 || r.From == 403 && r.To == 404 // an earlier row has all of the former
		case "Kind", "Message":
			return r.Done
		case "Wait":
			return r.Done ||
				!slices.Contains([]clients.Kind{clients.RateLimited, clients.Temporary, clients.Unknown}, r.Kind)
		case "Named":
			return r.Done || r.Code != "" // then the body has one
		}
		return false
	})
}
