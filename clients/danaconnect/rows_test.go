package danaconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/internal/tokens"
)

// differs makes a call that is answered with the code, and tells what means
// something else than was promised; "" if nothing does.
func (p promise) differs(t *testing.T, op string) string {
	t.Helper()
	f := fixture{gate: &clientstest.Gate{}}
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Limits{},
		clientstest.Canned{Status: 200, Body: *body(`"` + p.code + `"`)},
		nil,
	)
	var err error
	if f.client, err = danaconnect.NewOTP(config("https://danaconnect.example/"), f.gate, caller); err != nil {
		t.Fatal(err)
	}
	verdict, err := f.call(t.Context(), op)
	e, failed := clients.AsError(err)
	switch login := f.gate.Verdicts(); {
	case verdict != p.verdict:
		return fmt.Sprintf("%s %s: verdict %q, want %q", op, p.code, verdict, p.verdict)
	case len(login) != 1 || login[0] != p.login:
		return fmt.Sprintf("%s %s: the gate hears %v, want %v", op, p.code, login, p.login)
	case failed == p.done, failed && (e.Kind != p.kind || e.Message != p.message):
		return fmt.Sprintf("%s %s: %v, want %s %q", op, p.code, err, p.kind, p.message)
	}
	return ""
}

func TestEveryRowCounts(t *testing.T) {
	differs := func() string {
		for op, rows := range promises {
			for _, code := range undocumented {
				rows = append(
					rows,
					promise{code, false, clients.Unknown, danaconnect.None, tokens.Inconclusive, unlistedCode},
				)
			}
			for _, p := range rows {
				if why := p.differs(t, op); why != "" {
					return why
				}
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(t, danaconnect.Table(), differs, func(r danaconnect.Rule, field string) bool {
		switch field {
		case "Kind", "Message":
			return r.Success
		case "Verdict":
			return r.Op == danaconnect.OpSend // which judges no code
		}
		return false
	})
}

// An answer of API 2.0 or to a contact load that shows one of the signals.
type example struct {
	op     apiOp
	signal danaconnect.Signal
	body   string
	code   string
}

var headOp = apiOp{
	op: danaconnect.OpCall,
	run: func(ctx context.Context, api *danaconnect.APIClient, _ *danaconnect.ContactsClient) (danaconnect.Answer, error) {
		return api.Call(ctx, danaconnect.Request{Method: http.MethodHead, Path: "records"})
	},
}

var examples = []example{
	{startOp, danaconnect.SaysDone, `{"wsResult":{"idResult":0}}`, ""},
	{callOp, danaconnect.SaysDone, `{"wsResult":{"idResult":0}}`, ""},
	{loadOp, danaconnect.SaysDone, `{"status":true}`, ""},
	{startOp, danaconnect.SaysFailed, `{"wsResult":{"idResult":7}}`, "7"},
	{loadOp, danaconnect.SaysFailed, `{"status":false}`, ""},
	{callOp, danaconnect.HasContent, `{"a":1}`, ""},
	{headOp, danaconnect.IsEmpty, ``, ""},
	{startOp, danaconnect.SaysNothing, `<html>`, ""},
}

// meaning is what an answer with a signal means, written out a second time; nil
// for success.
func (x example) meaning(status int) *clients.Error {
	e := clients.StatusError(danaconnect.Vendor, x.op.op, &clients.Answer{Status: status})
	e.Code = x.code
	is := func(kind clients.Kind, message string) *clients.Error {
		e.Kind, e.Message = kind, message
		return e
	}
	switch within := status >= 200 && status <= 299; {
	case status < 100 || status > 999:
		e.Unlisted = true
	case x.signal == danaconnect.SaysDone && !within:
		return is(clients.Unknown, "the body claims success, the status says the opposite")
	case x.signal == danaconnect.SaysFailed && within:
		return is(clients.Failed, "the vendor says that it failed")
	case x.signal == danaconnect.SaysNothing && within:
		return is(clients.Unknown, "the answer cannot be read: it is a web page")
	case within:
		return nil
	}
	return e
}

func TestEveryAnswerRowCounts(t *testing.T) {
	differs := func() string {
		for _, x := range examples {
			for _, status := range []int{99, 100, 199, 200, 201, 299, 300, 400, 429, 500, 503, 999, 1000} {
				_, _, err := x.op.answered(t, status, x.body)
				got, failed := clients.AsError(err)
				if want := x.meaning(status); failed != (want != nil) || failed && *got != *want {
					return fmt.Sprintf("%s, %s with %d: %v, want %v", x.op.op, x.signal, status, err, want)
				}
			}
		}
		return ""
	}
	clientstest.EveryRowCounts(
		t,
		danaconnect.AnswerTable(),
		differs,
		func(r danaconnect.AnswerRule, field string) bool {
			switch field {
			case "ByStatus":
				return r.Success
			case "Kind", "Message":
				return r.Success || r.ByStatus
			}
			return false
		},
	)
}
