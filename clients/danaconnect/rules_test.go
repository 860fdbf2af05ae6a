package danaconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/clients/danaconnect/contacts"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// canaries are the secrets and personal data of these calls, which no error may
// show.
var canaries = []string{"canary-password", "canary-secret", "canary-token", "canary-mail@example.com"}

// operation is one operation whose answers the shared table interprets.
type operation struct {
	name string
	call func(context.Context, *clients.Caller) (clients.Reply, error)
}

var (
	startOp = operation{
		name: api.OpStart,
		call: withAPI(func(ctx context.Context, c *api.Client) (clients.Reply, error) {
			return c.StartConversation(ctx, api.Start{
				IDConversation: "824541",
				Data:           map[string]any{"COD1_EMAIL": "canary-mail@example.com"},
			})
		}),
	}
	callOp = operation{
		name: api.OpCall,
		call: withAPI(func(ctx context.Context, c *api.Client) (clients.Reply, error) {
			return c.Call(ctx, api.Request{
				Method: http.MethodPost,
				Path:   "records",
				Body:   []byte(`{"mail":"canary-mail@example.com"}`),
			})
		}),
	}
	headOp = operation{
		name: api.OpCall,
		call: withAPI(func(ctx context.Context, c *api.Client) (clients.Reply, error) {
			return c.Call(ctx, api.Request{Method: http.MethodHead, Path: "records"})
		}),
	}
	loadOp = operation{
		name: contacts.OpLoad,
		call: func(ctx context.Context, caller *clients.Caller) (clients.Reply, error) {
			c, err := contacts.New(basicConfig(), admission.Always(), caller)
			if err != nil {
				return clients.Reply{}, err
			}
			return c.Load(ctx, contacts.Load{
				TableCode:  "CUSTOMERS",
				FieldsCode: []string{"EMAIL"},
				Rows:       [][]string{{"canary-mail@example.com"}},
			})
		},
	}
)

func withAPI(
	call func(context.Context, *api.Client) (clients.Reply, error),
) func(context.Context, *clients.Caller) (clients.Reply, error) {
	return func(ctx context.Context, caller *clients.Caller) (clients.Reply, error) {
		cfg := api.Config{ClientID: "client", ClientSecret: secret.New("canary-secret")}
		c, err := api.New(cfg, tokens.Fixed("canary-token"), caller)
		if err != nil {
			return clients.Reply{}, err
		}
		return call(ctx, c)
	}
}

// answered makes one call that is answered with status and body.
func (o operation) answered(t *testing.T, status int, body string) (clients.Reply, error) {
	t.Helper()
	transport := clientstest.Canned{Status: status, Body: body}
	answer, err := o.call(t.Context(), clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, transport, nil))
	if err != nil {
		clientstest.NoLeak(t, err, canaries...)
	}
	return answer, err
}

// TestAnswers states the meaning of each answer a second time, independent of
// the table under test.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const ok clients.Kind = 255
	every := []operation{startOp, callOp, loadOp}
	ws := []operation{startOp, callOp} // read wsResult
	tests := []struct {
		name   string
		ops    []operation
		status int
		body   string
		kind   clients.Kind
		code   string
	}{
		{"done", ws, 200, `{"wsResult":{"idResult":0,"resultDescription":"OK"}}`, ok, ""},
		{"done, as text", ws, 200, `{"wsResult":{"idResult":"0"}}`, ok, ""},
		{"done, two zeros", ws, 201, `{"wsResult":{"idResult":"00"}}`, ok, ""},
		{"done, no error", ws, 200, `{"wsResult":{"idResult":0},"wsError":null}`, ok, ""},
		{"done, byte order mark", ws, 200, "\xef\xbb\xbf" + `{"wsResult":{"idResult":0}}`, ok, ""},
		{"accepted", []operation{loadOp}, 200, `{"status":true,"tableCode":"T"}`, ok, ""},
		{"done, but 302", ws, 302, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 400", ws, 400, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 401", ws, 401, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 429", ws, 429, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 500", ws, 500, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 503", ws, 503, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"accepted, but 500", []operation{loadOp}, 500, `{"status":true}`, clients.Unknown, ""},

		{"failed", ws, 200, `{"wsResult":{"idResult":7,"resultDescription":"x"}}`, clients.Failed, "7"},
		{"failed, as text", ws, 200, `{"wsResult":{"idResult":"-12"}}`, clients.Failed, "-12"},
		{"failed, 500", ws, 500, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 502", ws, 502, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 408", ws, 408, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 400", ws, 400, `{"wsResult":{"idResult":7}}`, clients.Invalid, "7"},
		{"failed, 401", ws, 401, `{"wsResult":{"idResult":7}}`, clients.Credentials, "7"},
		{"failed, 403", ws, 403, `{"wsResult":{"idResult":7}}`, clients.Credentials, "7"},
		{"failed, 429", ws, 429, `{"wsResult":{"idResult":7}}`, clients.Blocked, "7"},
		{"failed, 503", ws, 503, `{"wsResult":{"idResult":7}}`, clients.Temporary, "7"},
		{"failed, 302", ws, 302, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 599", ws, 599, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"error", every, 200, `{"wsError":{"errorDescription":"x"}}`, clients.Failed, ""},
		{"error, empty", every, 200, `{"wsError":{}}`, clients.Failed, ""},
		{"error, text", every, 200, `{"wsError":"x"}`, clients.Failed, ""},
		{
			"error beside a success",
			every,
			200,
			`{"wsResult":{"idResult":0},"status":true,"wsError":{"errorDescription":"x"}}`,
			clients.Failed,
			"X",
		},
		{"error, 500", every, 500, `{"wsError":{"errorDescription":"internal error"}}`, clients.Unknown, ""},
		{"error, 400", every, 400, `{"wsError":{"errorDescription":"illegal argument"}}`, clients.Invalid, ""},
		{"error, 401", every, 401, `{"wsError":{"errorDescription":"unauthorized user"}}`, clients.Credentials, ""},
		{"error, 503", every, 503, `{"wsError":{}}`, clients.Temporary, ""},
		{"neither, 503", every, 503, `{"a":1}`, clients.Unknown, ""},
		{"not accepted, 503", []operation{loadOp}, 503, `{"status":false}`, clients.Temporary, ""},
		{"not accepted", []operation{loadOp}, 200, `{"status":false}`, clients.Failed, ""},
		{"not accepted, 400", []operation{loadOp}, 400, `{"status":false}`, clients.Invalid, ""},
		{"not accepted, 401", []operation{loadOp}, 401, `{"status":false}`, clients.Credentials, ""},
		{"not accepted, 500", []operation{loadOp}, 500, `{"status":false}`, clients.Unknown, ""},

		{"neither, start", []operation{startOp}, 200, `{"a":1}`, clients.Unknown, ""},
		{"neither, load", []operation{loadOp}, 200, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"neither, call", []operation{callOp}, 200, `{"a":1}`, ok, ""},
		{"neither, call, 201", []operation{callOp}, 201, `{}`, ok, ""},
		{"a list, call", []operation{callOp}, 200, `[]`, ok, ""},
		{"a text, call", []operation{callOp}, 200, `"x"`, ok, ""},
		{"a list", []operation{startOp, loadOp}, 200, `[{"wsResult":{"idResult":0},"status":true}]`, clients.Unknown, ""},
		{"status as text", []operation{loadOp}, 200, `{"status":"true"}`, clients.Unknown, ""},
		{"status as number", []operation{loadOp}, 200, `{"status":1}`, clients.Unknown, ""},
		{"status null", []operation{loadOp}, 200, `{"status":null}`, clients.Unknown, ""},
		{"idResult null", []operation{startOp}, 200, `{"wsResult":{"idResult":null}}`, clients.Unknown, ""},
		{"idResult empty", []operation{startOp}, 200, `{"wsResult":{"idResult":""}}`, clients.Unknown, ""},
		{"idResult words", []operation{startOp}, 200, `{"wsResult":{"idResult":"OK"}}`, clients.Unknown, ""},
		{"idResult a fraction", []operation{startOp}, 200, `{"wsResult":{"idResult":0.5}}`, clients.Unknown, ""},
		{"idResult a boolean", []operation{startOp}, 200, `{"wsResult":{"idResult":false}}`, clients.Unknown, ""},
		{"idResult a list", []operation{startOp}, 200, `{"wsResult":{"idResult":[0]}}`, clients.Unknown, ""},
		{"wsResult null", []operation{startOp}, 200, `{"wsResult":null}`, clients.Unknown, ""},
		{"wsResult a list", []operation{startOp}, 200, `{"wsResult":[{"idResult":0}]}`, clients.Unknown, ""},
		{"wsResult a text", []operation{startOp}, 200, `{"wsResult":"0"}`, clients.Unknown, ""},
		{"idResult beside wsResult", []operation{startOp}, 200, `{"idResult":0}`, clients.Unknown, ""},
		{"wsResult twice", ws, 200, `{"wsResult":{"idResult":7},"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"idResult twice", ws, 200, `{"wsResult":{"idResult":7,"idresult":0}}`, clients.Unknown, ""},
		{"wsError twice", every, 200, `{"wsError":{},"wsError":null,"status":true}`, clients.Unknown, ""},
		{"status twice", []operation{loadOp}, 200, `{"status":false,"status":true}`, clients.Unknown, ""},
		{"no content, start", []operation{startOp, loadOp}, 204, ``, clients.Unknown, ""},
		{"no content, call", []operation{callOp}, 204, ``, ok, ""},
		{"empty", every, 200, ``, clients.Unknown, ""},
		{"null", every, 200, `null`, clients.Unknown, ""},
		{"web page", every, 200, `<html></html>`, clients.Unknown, ""},
		{"cut", every, 200, `{"wsResult":{"idResult":0}`, clients.Unknown, ""},
		{"neither, 500", every, 500, `{"a":1}`, clients.Unknown, ""},
		{"neither, 404", every, 404, `{"a":1}`, clients.Invalid, ""},
		{"neither, 429", every, 429, ``, clients.Blocked, ""},
		{"neither, 302", every, 302, ``, clients.Unknown, ""},
	}
	for _, tt := range tests {
		for _, o := range tt.ops {
			t.Run(tt.name+"/"+o.name, func(t *testing.T) {
				t.Parallel()
				answer, err := o.answered(t, tt.status, tt.body)
				if answer.Status != tt.status {
					t.Errorf("the answer has status %d", answer.Status)
				}
				body := strings.TrimPrefix(tt.body, "\xef\xbb\xbf")
				if whole := !strings.HasPrefix(body, "<") && tt.name != "cut"; whole != (string(answer.Body) == body) {
					t.Errorf("the answer keeps %q of %q", answer.Body, tt.body)
				}
				if tt.kind == ok {
					if err != nil {
						t.Errorf("error %v, want none", err)
					}
					return
				}
				e := clientstest.Fault(t, err, tt.kind, canaries...)
				if e.NotSent || e.Status != tt.status || e.Message == "" || e.Op != o.name {
					t.Errorf("%#v", e)
				}
				if tt.code != "X" && e.Code != tt.code {
					t.Errorf("code %q, want %q", e.Code, tt.code)
				}
			})
		}
	}
}

func TestGoldenAnswerRules(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, r := range danaconnect.AnswerRules() {
		what := r.Kind.String() + ": " + r.Message
		switch {
		case r.Success:
			what = "success"
		case r.ByStatus:
			what = "by status"
		}
		fmt.Fprintf(&got, "%s | %d-%d | %s\n", r.Signal, r.From, r.To, what)
	}
	fmt.Fprintln(&got, "login refused:", strings.Join(clients.TokenRefusals(), ", "))
	clientstest.GoldenText(t, "testdata/answer-rules.txt", got.String())
}

// example is an answer of API 2.0 or of a contact load with one of the signals.
type example struct {
	op     operation
	signal danaconnect.Signal
	body   string
	code   string
	method string
}

var examples = []example{
	{
		op:     startOp,
		signal: danaconnect.SignalDone,
		body:   `{"wsResult":{"idResult":0}}`,
		method: http.MethodPost,
	},
	{
		op:     callOp,
		signal: danaconnect.SignalDone,
		body:   `{"wsResult":{"idResult":0}}`,
		method: http.MethodPost,
	},
	{
		op:     loadOp,
		signal: danaconnect.SignalDone,
		body:   `{"status":true}`,
		method: http.MethodPost,
	},
	{
		op:     startOp,
		signal: danaconnect.SignalFailed,
		body:   `{"wsResult":{"idResult":7}}`,
		code:   "7",
		method: http.MethodPost,
	},
	{
		op:     loadOp,
		signal: danaconnect.SignalFailed,
		body:   `{"status":false}`,
		method: http.MethodPost,
	},
	{
		op:     callOp,
		signal: danaconnect.SignalContent,
		body:   `{"a":1}`,
		method: http.MethodPost,
	},
	{
		op:     headOp,
		signal: danaconnect.SignalEmpty,
		body:   ``,
		method: http.MethodHead,
	},
	{
		op:     startOp,
		signal: danaconnect.SignalNone,
		body:   `<html>`,
		method: http.MethodPost,
	},
}

// meaning returns what the answer means, independent of the table under test; nil
// for success.
func (x example) meaning(status int) *clients.Error {
	e := clients.StatusError(danaconnect.Vendor, x.op.name, &clients.Answer{Status: status, Method: x.method})
	e.Code = x.code
	is := func(kind clients.Kind, message string) *clients.Error {
		e.Kind, e.Message = kind, message
		return e
	}
	switch within := status >= 200 && status <= 299; {
	case status < 100 || status > 599: // the body is not read
		e.Code = ""
		e.Unlisted = true
	case x.signal == danaconnect.SignalDone && !within:
		return is(clients.Unknown, "the body claims success, the status says the opposite")
	case x.signal == danaconnect.SignalFailed && status == http.StatusServiceUnavailable:
		return is(clients.Temporary, "the service is unavailable, and the vendor says that it was not done")
	case x.signal == danaconnect.SignalFailed && within:
		return is(clients.Failed, "the vendor says that it failed")
	case x.signal == danaconnect.SignalNone && within:
		return is(clients.Unknown, "the answer cannot be read: it is a web page")
	case within:
		return nil
	}
	return e
}

func TestEveryAnswerRowCounts(t *testing.T) {
	differs := func() string {
		for _, x := range examples {
			for _, status := range []int{99, 100, 199, 200, 201, 299, 300, 400, 429, 500, 502, 503, 504, 599, 600} {
				_, err := x.op.answered(t, status, x.body)
				got, failed := clients.AsError(err)
				if want := x.meaning(status); failed != (want != nil) || failed && *got != *want {
					return fmt.Sprintf("%s, %s with %d: %v, want %v", x.op.name, x.signal, status, err, want)
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
			case "From", "To": // outside of HTTP every body says nothing
				return (r.From == 99 || r.To == 600) && r.Signal != danaconnect.SignalNone
			}
			return false
		},
	)
}
