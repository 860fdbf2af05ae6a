package danaconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

func TestSharedRulesOfTheAPI(t *testing.T) {
	t.Parallel()
	for _, o := range apiOps {
		subject := clientstest.Subject{
			Op:         o.sandboxOp,
			Mount:      danaconnecttest.Mount,
			Canaries:   apiCanaries,
			Unreadable: clients.Unknown,
			New:        func(*testing.T) clientstest.Sandbox { return apiSandbox(danaconnecttest.Options{}) },
			Call: func(t *testing.T, baseURL string, limits clients.Timeouts) func(context.Context) error {
				call := o.against(t, baseURL, &twoTokens{}, &clientstest.Gate{}, limits)
				return func(ctx context.Context) error { _, err := call(ctx); return err }
			},
		}
		t.Run(o.op, func(t *testing.T) {
			t.Parallel()
			if o.op != danaconnect.OpCall {
				clientstest.Check(t, subject)
				return
			}
			// A free call promises no form of answer: TestAnswers has its bodies, and an
			// echo with 200 is an answer.
			t.Run("statuses", func(t *testing.T) { t.Parallel(); clientstest.Statuses(t, subject) })
			t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
		})
	}
}

// The login runs the same checks. A refusal is a *tokens.RefusedError there.
func TestSharedRulesOfTheLogin(t *testing.T) {
	t.Parallel()
	clientstest.Check(t, clientstest.Subject{
		Op:         danaconnecttest.OpToken,
		Mount:      danaconnecttest.Mount,
		Canaries:   apiCanaries,
		Unreadable: clients.Unknown,
		Kinds:      map[int]clients.Kind{400: clients.Credentials},
		New:        func(*testing.T) clientstest.Sandbox { return apiSandbox(danaconnecttest.Options{}) },
		Call: func(t *testing.T, baseURL string, limits clients.Timeouts) func(context.Context) error {
			l := newAPILogin(t, apiConfig(baseURL), limits)
			return func(ctx context.Context) error {
				_, err := l.Fetch(ctx)
				return clientstest.AsCredentials(danaconnect.OpToken, err)
			}
		},
	})
}

// What each answer means, written out a second time.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const ok clients.Kind = 255
	every := []apiOp{startOp, callOp, loadOp}
	ws := []apiOp{startOp, callOp} // read wsResult
	tests := []struct {
		name   string
		ops    []apiOp
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
		{"accepted", []apiOp{loadOp}, 200, `{"status":true,"tableCode":"T"}`, ok, ""},
		{"done, but 302", ws, 302, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 400", ws, 400, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 401", ws, 401, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 429", ws, 429, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 500", ws, 500, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"done, but 503", ws, 503, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"accepted, but 500", []apiOp{loadOp}, 500, `{"status":true}`, clients.Unknown, ""},

		{"failed", ws, 200, `{"wsResult":{"idResult":7,"resultDescription":"x"}}`, clients.Failed, "7"},
		{"failed, as text", ws, 200, `{"wsResult":{"idResult":"-12"}}`, clients.Failed, "-12"},
		{"failed, 500", ws, 500, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 502", ws, 502, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 408", ws, 408, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
		{"failed, 400", ws, 400, `{"wsResult":{"idResult":7}}`, clients.Invalid, "7"},
		{"failed, 401", ws, 401, `{"wsResult":{"idResult":7}}`, clients.Credentials, "7"},
		{"failed, 403", ws, 403, `{"wsResult":{"idResult":7}}`, clients.Credentials, "7"},
		{"failed, 429", ws, 429, `{"wsResult":{"idResult":7}}`, clients.RateLimited, "7"},
		{"failed, 503", ws, 503, `{"wsResult":{"idResult":7}}`, clients.Temporary, "7"},
		{"failed, 302", ws, 302, `{"wsResult":{"idResult":7}}`, clients.Invalid, "7"},
		{"failed, 999", ws, 999, `{"wsResult":{"idResult":7}}`, clients.Unknown, "7"},
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
		{"not accepted", []apiOp{loadOp}, 200, `{"status":false}`, clients.Failed, ""},
		{"not accepted, 400", []apiOp{loadOp}, 400, `{"status":false}`, clients.Invalid, ""},
		{"not accepted, 401", []apiOp{loadOp}, 401, `{"status":false}`, clients.Credentials, ""},
		{"not accepted, 500", []apiOp{loadOp}, 500, `{"status":false}`, clients.Unknown, ""},

		{"neither, start", []apiOp{startOp}, 200, `{"a":1}`, clients.Unknown, ""},
		{"neither, load", []apiOp{loadOp}, 200, `{"wsResult":{"idResult":0}}`, clients.Unknown, ""},
		{"neither, call", []apiOp{callOp}, 200, `{"a":1}`, ok, ""},
		{"neither, call, 201", []apiOp{callOp}, 201, `{}`, ok, ""},
		{"a list, call", []apiOp{callOp}, 200, `[]`, ok, ""},
		{"a text, call", []apiOp{callOp}, 200, `"x"`, ok, ""},
		{"a list", []apiOp{startOp, loadOp}, 200, `[{"wsResult":{"idResult":0},"status":true}]`, clients.Unknown, ""},
		{"status as text", []apiOp{loadOp}, 200, `{"status":"true"}`, clients.Unknown, ""},
		{"status as number", []apiOp{loadOp}, 200, `{"status":1}`, clients.Unknown, ""},
		{"status null", []apiOp{loadOp}, 200, `{"status":null}`, clients.Unknown, ""},
		{"idResult null", []apiOp{startOp}, 200, `{"wsResult":{"idResult":null}}`, clients.Unknown, ""},
		{"idResult empty", []apiOp{startOp}, 200, `{"wsResult":{"idResult":""}}`, clients.Unknown, ""},
		{"idResult words", []apiOp{startOp}, 200, `{"wsResult":{"idResult":"OK"}}`, clients.Unknown, ""},
		{"idResult a fraction", []apiOp{startOp}, 200, `{"wsResult":{"idResult":0.5}}`, clients.Unknown, ""},
		{"idResult a boolean", []apiOp{startOp}, 200, `{"wsResult":{"idResult":false}}`, clients.Unknown, ""},
		{"idResult a list", []apiOp{startOp}, 200, `{"wsResult":{"idResult":[0]}}`, clients.Unknown, ""},
		{"wsResult null", []apiOp{startOp}, 200, `{"wsResult":null}`, clients.Unknown, ""},
		{"wsResult a list", []apiOp{startOp}, 200, `{"wsResult":[{"idResult":0}]}`, clients.Unknown, ""},
		{"wsResult a text", []apiOp{startOp}, 200, `{"wsResult":"0"}`, clients.Unknown, ""},
		{"idResult beside wsResult", []apiOp{startOp}, 200, `{"idResult":0}`, clients.Unknown, ""},
		{"no content, start", []apiOp{startOp, loadOp}, 204, ``, clients.Unknown, ""},
		{"no content, call", []apiOp{callOp}, 204, ``, ok, ""},
		{"empty", every, 200, ``, clients.Unknown, ""},
		{"null", every, 200, `null`, clients.Unknown, ""},
		{"web page", every, 200, `<html></html>`, clients.Unknown, ""},
		{"cut", every, 200, `{"wsResult":{"idResult":0}`, clients.Unknown, ""},
		{"neither, 500", every, 500, `{"a":1}`, clients.Unknown, ""},
		{"neither, 404", every, 404, `{"a":1}`, clients.Invalid, ""},
		{"neither, 429", every, 429, ``, clients.RateLimited, ""},
		{"neither, 302", every, 302, ``, clients.Invalid, ""},
	}
	for _, tt := range tests {
		for _, o := range tt.ops {
			t.Run(tt.name+"/"+o.op, func(t *testing.T) {
				t.Parallel()
				answer, _, err := o.answered(t, tt.status, tt.body)
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
				e := fault(t, err, tt.kind)
				if e.NotSent || e.Status != tt.status || e.Message == "" || e.Op != o.op {
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

// A HEAD has no content; that is no fault of its answer.
func TestHeadHasNoContent(t *testing.T) {
	t.Parallel()
	sb := apiSandbox(danaconnecttest.Options{})
	c := newAPI(t, apiConfig(clientstest.Serve(t, sb, danaconnecttest.Mount)), &twoTokens{}, clients.Timeouts{})
	answer, err := c.Call(t.Context(), danaconnect.Request{Method: http.MethodHead, Path: "records"})
	if err != nil || answer.Status != 200 || answer.Body != nil {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestReplayOfTheAPI(t *testing.T) {
	t.Parallel()
	denied := sandbox.Fault{Status: 401, Body: new(`{"wsError":{"errorDescription":"unauthorized user"}}`)}
	odd := sandbox.Fault{Status: 401, AfterEffect: true, Body: new(`{"wsResult":{"idResult":0}}`)}
	tests := []struct {
		name     string
		replay   bool
		faults   []sandbox.Fault
		kind     clients.Kind // Declined stands for none
		calls    int
		rejected []string
	}{
		{"401, then good", true, []sandbox.Fault{denied}, clients.Declined, 2, []string{oldToken}},
		{"401 twice", true, []sandbox.Fault{denied, denied}, clients.Credentials, 2, []string{oldToken, newToken}},
		{"401 of a fresh token", false, []sandbox.Fault{denied}, clients.Credentials, 1, []string{oldToken}},
		{"403", true, []sandbox.Fault{{Status: 403}}, clients.Credentials, 1, nil},
		{"401 that claims success is not repeated", true, []sandbox.Fault{odd}, clients.Unknown, 1, nil},
	}
	for _, tt := range tests {
		for _, o := range []apiOp{startOp, callOp} {
			t.Run(tt.name+"/"+o.op, func(t *testing.T) {
				t.Parallel()
				sb := apiSandbox(danaconnecttest.Options{})
				for _, f := range tt.faults {
					f.Op, f.Times = o.sandboxOp, 1
					sb.Inject(f)
				}
				src := &twoTokens{replay: tt.replay}
				_, err := o.against(
					t,
					clientstest.Serve(t, sb, danaconnecttest.Mount),
					src,
					&clientstest.Gate{},
					clients.Timeouts{},
				)(
					t.Context(),
				)
				if tt.kind == clients.Declined {
					if err != nil {
						t.Error(err)
					}
				} else {
					clientstest.NoLeak(t, fault(t, err, tt.kind), apiCanaries...)
				}
				if n := sb.Calls(o.sandboxOp); n != tt.calls || !slices.Equal(src.rejected, tt.rejected) ||
					sb.Effects(o.sandboxOp) > 1 {
					t.Errorf("%d calls, rejected %q, %d effects", n, src.rejected, sb.Effects(o.sandboxOp))
				}
			})
		}
	}
}

func TestRequestsOfTheAPI(t *testing.T) {
	t.Parallel()
	start := func(s danaconnect.Start) func(context.Context, *danaconnect.APIClient) error {
		return func(ctx context.Context, c *danaconnect.APIClient) error {
			_, err := c.StartConversation(ctx, s)
			return err
		}
	}
	call := func(r danaconnect.Request) func(context.Context, *danaconnect.APIClient) error {
		return func(ctx context.Context, c *danaconnect.APIClient) error { _, err := c.Call(ctx, r); return err }
	}
	tests := []struct {
		name, method, uri string
		body              bool
		call              func(context.Context, *danaconnect.APIClient) error
	}{
		{"start", "POST", "api/2.0/rest/conversation/824541/start/data", true, start(danaconnect.Start{
			IDConversation: "824541", Data: map[string]any{
				"COD1_EMAIL":  mail,
				"COD1_NOMBRE": `Tom & Zoë <tz>`,
				"AGE":         7,
				"ACTIVE":      true,
			},
		})},
		{"start-project", "POST", "api/2.0/rest/conversation/ProjectID/4711/start/data", true, start(danaconnect.Start{
			IDProject: "4711", Data: map[string]any{"COD1_EMAIL": mail},
		})},
		{
			"call",
			"POST",
			"api/2.0/records",
			true,
			call(
				danaconnect.Request{
					Method: "POST",
					Path:   "/records",
					Body:   []byte(`{"b":12345678901234567890,"a":"<&>"}`),
				},
			),
		},
		{"call-get", "GET", "api/2.0/records/a%20b?fields=a&fields=b&q=x+%26+y", false, call(danaconnect.Request{
			Method: "GET", Path: "records/a%20b", Query: url.Values{"q": {"x & y"}, "fields": {"a", "b"}},
		})},
		{
			"call-delete",
			"DELETE",
			"api/2.0/records/1",
			false,
			call(danaconnect.Request{Method: "DELETE", Path: "records/1"}),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb := apiSandbox(danaconnecttest.Options{})
			base := clientstest.Serve(t, sb, danaconnecttest.Mount)
			_ = tt.call(
				t.Context(),
				newAPI(t, apiConfig(base), &twoTokens{}, clients.Timeouts{}),
			) // the answer does not matter here
			got := sb.Requests("")
			if len(got) != 1 {
				t.Fatalf("%d requests, want 1", len(got))
			}
			r := got[0]
			if r.Method != tt.method || r.URI != danaconnecttest.Mount+tt.uri || r.Op == sandbox.Unrouted {
				t.Errorf("%s %s, want %s %s", r.Method, r.URI, tt.method, tt.uri)
			}
			for name, want := range map[string]string{
				"Content-Type":    "application/json",
				"Accept":          "application/json",
				"Authorization":   "Bearer " + oldToken,
				"Idempotency-Key": "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
			if tt.body {
				clientstest.GoldenText(t, "testdata/"+tt.name+"-request.json", string(r.Body)+"\n")
			} else if len(r.Body) != 0 {
				t.Errorf("body %q, want none", r.Body)
			}
		})
	}
}

func TestStartsArrive(t *testing.T) {
	t.Parallel()
	for _, loose := range []bool{false, true} {
		sb := apiSandbox(danaconnecttest.Options{LooseTypes: loose})
		c := newAPI(t, apiConfig(clientstest.Serve(t, sb, danaconnecttest.Mount)), &twoTokens{}, clients.Timeouts{})
		answer, err := c.StartConversation(t.Context(), someStart())
		if err != nil || !strings.Contains(string(answer.Body), `"idResult"`) {
			t.Fatalf("%+v, %v", answer, err)
		}
		if got := sb.Starts(); len(got) != 1 || got[0].Data["COD1_EMAIL"] != mail ||
			sb.EffectsOf(danaconnecttest.OpStart, mail) != 1 {
			t.Errorf("the vendor has %+v", got)
		}
	}
}

func TestArgumentsOfTheAPI(t *testing.T) {
	t.Parallel()
	src := &twoTokens{}
	c := newAPI(t, apiConfig("https://danaconnect.example/"), src, clients.Timeouts{})
	contacts := newContacts(t, "https://danaconnect.example/", &clientstest.Gate{}, clients.Timeouts{})
	data := map[string]any{"A": "1"}
	load := func(change func(*danaconnect.Load)) func() error {
		return func() error {
			l := someLoad()
			change(&l)
			_, err := contacts.LoadContacts(t.Context(), l)
			return err
		}
	}
	start := func(s danaconnect.Start) func() error {
		return func() error { _, err := c.StartConversation(t.Context(), s); return err }
	}
	call := func(r danaconnect.Request) func() error {
		return func() error { _, err := c.Call(t.Context(), r); return err }
	}
	for name, run := range map[string]func() error{
		"no id":               start(danaconnect.Start{Data: data}),
		"two ids":             start(danaconnect.Start{IDConversation: "1", IDProject: "1", Data: data}),
		"id up":               start(danaconnect.Start{IDConversation: "..", Data: data}),
		"id with a path":      start(danaconnect.Start{IDConversation: "1/../2", Data: data}),
		"project zero":        start(danaconnect.Start{IDProject: "0", Data: data}),
		"no data":             start(danaconnect.Start{IDConversation: "1"}),
		"data that is a func": start(danaconnect.Start{IDConversation: "1", Data: map[string]any{"A": func() {}}}),
		"other method":        call(danaconnect.Request{Method: "TRACE", Path: "records"}),
		"method in lower":     call(danaconnect.Request{Method: "get", Path: "records"}),
		"no path":             call(danaconnect.Request{Method: "GET"}),
		"another host":        call(danaconnect.Request{Method: "GET", Path: "https://evil.example/x"}),
		"up":                  call(danaconnect.Request{Method: "GET", Path: "%2e%2e/1.0/x"}),
		"query in the path":   call(danaconnect.Request{Method: "GET", Path: "records?a=b"}),
		"broken body":         call(danaconnect.Request{Method: "POST", Path: "records", Body: []byte(`{`)}),
		"no table":            load(func(l *danaconnect.Load) { l.TableCode = "" }),
		"table up":            load(func(l *danaconnect.Load) { l.TableCode = ".." }),
		"table with a slash":  load(func(l *danaconnect.Load) { l.TableCode = "a/b" }),
		"no fields":           load(func(l *danaconnect.Load) { l.FieldsCode = nil }),
		"field with ;":        load(func(l *danaconnect.Load) { l.FieldsCode = []string{"A;B", "C"} }),
		"no rows":             load(func(l *danaconnect.Load) { l.Rows = nil }),
		"short row":           load(func(l *danaconnect.Load) { l.Rows = [][]string{{"x"}} }),
		"long row":            load(func(l *danaconnect.Load) { l.Rows = [][]string{{"x", "y"}, {"x", "y", "z"}} }),
	} {
		e := fault(t, run(), clients.Invalid)
		if !e.NotSent || e.Message == "" || strings.Contains(e.Error(), "evil") {
			t.Errorf("%s: %#v", name, e)
		}
	}
}
