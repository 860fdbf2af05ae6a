package api_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

func TestSharedRules(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		subject := clientstest.Subject{
			Op:         o.sandboxOp,
			Mount:      danaconnecttest.Mount,
			Canaries:   canaries,
			Unreadable: clients.Unknown,
			New:        func(*testing.T) clientstest.Sandbox { return newSandbox(danaconnecttest.Options{}) },
			Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
				c := newClient(t, config(baseURL), &twoTokens{}, timeouts)
				return func(ctx context.Context) error { return o.call(ctx, c) }
			},
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			if o.name != api.OpCall {
				clientstest.Check(t, subject)
				return
			}
			// The answer of a free call has no documented form, so an unexpected body
			// with 200 is an answer.
			t.Run("statuses", func(t *testing.T) { t.Parallel(); clientstest.Statuses(t, subject) })
			t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
		})
	}
}

// TestSharedRulesOfTheLogin runs the same checks; a refusal of the login is a
// *tokens.RefusedError.
func TestSharedRulesOfTheLogin(t *testing.T) {
	t.Parallel()
	clientstest.Check(t, clientstest.Subject{
		Op:         danaconnecttest.OpToken,
		Login:      true,
		Mount:      danaconnecttest.Mount,
		Canaries:   canaries,
		Unreadable: clients.Unknown,
		Kinds:      map[int]clients.Kind{400: clients.Credentials},
		New:        func(*testing.T) clientstest.Sandbox { return newSandbox(danaconnecttest.Options{}) },
		Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
			l := newLogin(t, config(baseURL), timeouts)
			return func(ctx context.Context) error {
				_, err := l.Fetch(ctx)
				return clientstest.AsCredentials(api.OpToken, err)
			}
		},
	})
}

func TestAnswerToHeadMayBeEmpty(t *testing.T) {
	t.Parallel()
	sb := newSandbox(danaconnecttest.Options{})
	c := newClient(t, config(clientstest.Serve(t, sb, danaconnecttest.Mount)), &twoTokens{}, clients.Timeouts{})
	answer, err := c.Call(t.Context(), api.Request{Method: http.MethodHead, Path: "records"})
	if err != nil || answer.Status != 200 || answer.Body != nil {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestReplayAfterRejectedToken(t *testing.T) {
	t.Parallel()
	denied := sandbox.Fault{Status: 401, Body: new(`{"wsError":{"errorDescription":"unauthorized user"}}`)}
	odd := sandbox.Fault{Status: 401, AfterEffect: true, Body: new(`{"wsResult":{"idResult":0}}`)}
	tests := []struct {
		name     string
		replay   bool
		faults   []sandbox.Fault
		kind     clients.Kind // Declined means no error
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
		for _, o := range operations {
			t.Run(tt.name+"/"+o.name, func(t *testing.T) {
				t.Parallel()
				sb := newSandbox(danaconnecttest.Options{})
				for _, f := range tt.faults {
					f.Op = o.sandboxOp
					f.Times = 1
					sb.Inject(f)
				}
				src := &twoTokens{replay: tt.replay}
				base := clientstest.Serve(t, sb, danaconnecttest.Mount)
				err := o.call(t.Context(), newClient(t, config(base), src, clients.Timeouts{}))
				if tt.kind == clients.Declined {
					if err != nil {
						t.Error(err)
					}
				} else {
					clientstest.NoLeak(t, fault(t, err, tt.kind), canaries...)
				}
				if n := sb.Calls(o.sandboxOp); n != tt.calls || !slices.Equal(src.rejected, tt.rejected) ||
					sb.Effects(o.sandboxOp) > 1 {
					t.Errorf("%d calls, rejected %q, %d effects", n, src.rejected, sb.Effects(o.sandboxOp))
				}
			})
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	start := func(s api.Start) func(context.Context, *api.Client) error {
		return func(ctx context.Context, c *api.Client) error {
			_, err := c.StartConversation(ctx, s)
			return err
		}
	}
	call := func(r api.Request) func(context.Context, *api.Client) error {
		return func(ctx context.Context, c *api.Client) error { _, err := c.Call(ctx, r); return err }
	}
	tests := []struct {
		name, method, uri string
		body              bool
		call              func(context.Context, *api.Client) error
	}{
		{"start", "POST", "api/2.0/rest/conversation/824541/start/data", true, start(api.Start{
			IDConversation: "824541", Data: map[string]any{
				"COD1_EMAIL":  mail,
				"COD1_NOMBRE": `Tom & Zoë <tz>`,
				"AGE":         7,
				"ACTIVE":      true,
			},
		})},
		{"start-project", "POST", "api/2.0/rest/conversation/ProjectID/4711/start/data", true, start(api.Start{
			IDProject: "4711", Data: map[string]any{"COD1_EMAIL": mail},
		})},
		{"call", "POST", "api/2.0/records", true, call(api.Request{
			Method: "POST",
			Path:   "/records",
			Body:   []byte(`{"b":12345678901234567890,"a":"<&>"}`),
		})},
		{"call-get", "GET", "api/2.0/records/a%20b?fields=a&fields=b&q=x+%26+y", false, call(api.Request{
			Method: "GET", Path: "records/a%20b", Query: url.Values{"q": {"x & y"}, "fields": {"a", "b"}},
		})},
		{"call-delete", "DELETE", "api/2.0/records/1", false, call(api.Request{
			Method: "DELETE",
			Path:   "records/1",
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(danaconnecttest.Options{})
			base := clientstest.Serve(t, sb, danaconnecttest.Mount)
			c := newClient(t, config(base), &twoTokens{}, clients.Timeouts{})
			_ = tt.call(t.Context(), c) // only the request matters
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

func TestStartReachesTheVendor(t *testing.T) {
	t.Parallel()
	for _, loose := range []bool{false, true} {
		sb := newSandbox(danaconnecttest.Options{LooseTypes: loose})
		c := newClient(t, config(clientstest.Serve(t, sb, danaconnecttest.Mount)), &twoTokens{}, clients.Timeouts{})
		answer, err := c.StartConversation(t.Context(), exampleStart())
		if err != nil || !strings.Contains(string(answer.Body), `"idResult"`) {
			t.Fatalf("%+v, %v", answer, err)
		}
		if got := sb.Starts(); len(got) != 1 || got[0].Data["COD1_EMAIL"] != mail ||
			sb.EffectsOf(danaconnecttest.OpStart, mail) != 1 {
			t.Errorf("the vendor has %+v", got)
		}
	}
}

func TestInvalidArgumentsAreNotSent(t *testing.T) {
	t.Parallel()
	c := newClient(t, config("https://danaconnect.example/"), &twoTokens{}, clients.Timeouts{})
	data := map[string]any{"A": "1"}
	start := func(s api.Start) func() error {
		return func() error { _, err := c.StartConversation(t.Context(), s); return err }
	}
	call := func(r api.Request) func() error {
		return func() error { _, err := c.Call(t.Context(), r); return err }
	}
	for name, run := range map[string]func() error{
		"no id":                start(api.Start{Data: data}),
		"two ids":              start(api.Start{IDConversation: "1", IDProject: "1", Data: data}),
		"id ..":                start(api.Start{IDConversation: "..", Data: data}),
		"id with a path":       start(api.Start{IDConversation: "1/../2", Data: data}),
		"project zero":         start(api.Start{IDProject: "0", Data: data}),
		"no data":              start(api.Start{IDConversation: "1"}),
		"data that is no JSON": start(api.Start{IDConversation: "1", Data: map[string]any{"A": func() {}}}),
		"other method":         call(api.Request{Method: "TRACE", Path: "records"}),
		"lower-case method":    call(api.Request{Method: "get", Path: "records"}),
		"no path":              call(api.Request{Method: "GET"}),
		"another host":         call(api.Request{Method: "GET", Path: "https://evil.example/x"}),
		".. in the path":       call(api.Request{Method: "GET", Path: "%2e%2e/1.0/x"}),
		"query in the path":    call(api.Request{Method: "GET", Path: "records?a=b"}),
		"invalid JSON":         call(api.Request{Method: "POST", Path: "records", Body: []byte(`{`)}),
	} {
		e := fault(t, run(), clients.Invalid)
		if !e.NotSent || e.Message == "" || strings.Contains(e.Error(), "evil") {
			t.Errorf("%s: %#v", name, e)
		}
	}
}
