package dckap_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"errand.internal/internal/admission"
	"errand.internal/internal/admission/admissiontest"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/webtest"
)

func TestSharedChecks(t *testing.T) {
	t.Parallel()
	for _, auth := range []dckap.Auth{dckap.Bearer, dckap.Header, dckap.Query, dckap.JWTQuery, dckap.Basic} {
		t.Run(string(auth), func(t *testing.T) {
			t.Parallel()
			// The rule keeps an echoed request from passing as a success.
			file := pipesFile(t, withRule)
			subject := clientstest.Subject{
				Op:       dckaptest.OpCall,
				Mount:    dckaptest.Mount,
				Canaries: canaries,
				New:      func(*testing.T) clientstest.Sandbox { return dckaptest.New(options()) },
				Kinds:    map[int]clients.Kind{400: clients.Credentials},
				Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
					f := &fixture{credential: &clientstest.Gate{}, pipe: &clientstest.Gate{}}
					f.connect(t, config(baseURL, auth, file), timeouts)
					return func(ctx context.Context) error { _, err := f.client.Call(ctx, order()); return err }
				},
			}
			// TestBodies covers the bodies: a pipe may answer any JSON.
			t.Run("leaks", func(t *testing.T) { t.Parallel(); clientstest.Leaks(t, subject) })
			if auth == dckap.Bearer {
				t.Run("statuses", func(t *testing.T) { t.Parallel(); clientstest.Statuses(t, subject) })
				t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
			}
		})
	}
}

// Each Auth sends the credential in one place only.
func TestCredentialIsSentInOnePlace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		auth                         dckap.Auth
		authorization, header, query string
	}{
		{dckap.Bearer, "Bearer " + token, "", "page=2"},
		{dckap.Header, "", token, "page=2"},
		{dckap.Query, "", "", "access_token=" + token + "&page=2"},
		{dckap.JWTQuery, "", "", "page=2&token=" + jwt},
		{dckap.Basic, "Basic Y2FuYXJ5LXVzZXItNzM6Y2FuYXJ5LXBhc3N3b3JkLTc0", "", "page=2"},
	} {
		t.Run(string(tt.auth), func(t *testing.T) {
			t.Parallel()
			f := start(t, tt.auth, "")
			call := order()
			call.Query = url.Values{"page": {"2"}}
			if _, err := f.client.Call(t.Context(), call); err != nil {
				t.Fatal(err)
			}
			r := f.Requests(dckaptest.OpCall)[0]
			if got := r.Header.Get("Authorization"); got != tt.authorization {
				t.Errorf("Authorization %q, want %q", got, tt.authorization)
			}
			if got := r.Header.Get("access_token"); got != tt.header {
				t.Errorf("access_token %q, want %q", got, tt.header)
			}
			if got := "/dckap/v1/dynamic/listener/" + dckaptest.Listener + "?" + tt.query; r.URI != got {
				t.Errorf("URI %s, want %s", r.URI, got)
			}
			encoded, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			for _, canary := range []string{token, jwt, username, password} {
				want := strings.Count(tt.authorization+tt.header+tt.query, canary)
				if got := strings.Count(strings.ReplaceAll(string(encoded), "Query", ""), canary) - strings.Count(r.Query.Encode(), canary); got != want {
					t.Errorf("the request contains %s %d times, want %d", canary, got, want)
				}
			}
			if len(call.Query) != 1 {
				t.Error("the call changed its argument")
			}
			f.credential.Expect(t, admission.Accepted)
			f.pipe.Expect(t, admission.Accepted)
		})
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	f := start(t, dckap.Bearer, "")
	for _, tt := range []struct{ name, method, sent, body string }{
		{"post by default", "", http.MethodPost, `{"a":1.10,"text":"Tom & <Zoë>","n":12345678901234567890}`},
		{"put", http.MethodPut, http.MethodPut, `[1]`},
		{"patch", http.MethodPatch, http.MethodPatch, `"x"`},
		{"delete", http.MethodDelete, http.MethodDelete, ``},
		{"get", http.MethodGet, http.MethodGet, ``},
	} {
		call := dckap.Call{Listener: dckaptest.Listener, Method: tt.method}
		if tt.body != "" {
			call.Body = json.RawMessage(tt.body)
		}
		if _, err := f.client.Call(t.Context(), call); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		all := f.Requests(dckaptest.OpCall)
		r := all[len(all)-1]
		wantType := ""
		if tt.body != "" {
			wantType = "application/json"
		}
		if r.Method != tt.sent || string(r.Body) != tt.body || r.Header.Get("Content-Type") != wantType ||
			r.Header.Get("Accept") != "application/json" ||
			r.Header.Get("Idempotency-Key") != "" {
			t.Errorf("%s: %s %s %v", tt.name, r.Method, r.Body, r.Header)
		}
	}
}

func TestListener(t *testing.T) {
	t.Parallel()
	f := start(t, dckap.Bearer, "")
	base := "http://" + "127.0.0.1:1" + dckaptest.Mount + dckaptest.ListenerPath
	cfg := config("http://127.0.0.1:1"+dckaptest.Mount, dckap.Bearer, "")
	f.connect(t, cfg, clients.Timeouts{})
	for _, tt := range []struct{ name, listener, want string }{
		{"id", "64f1", "64f1"},
		{"id with marks", "aB-9_.~", "aB-9_.~"},
		{"copied URL", base + "64f1", "64f1"},
		{"copied URL with a slash", base + "64f1/", "64f1"},
		{"another host", "https://evil.example/v1/dynamic/listener/64f1", ""},
		{"the placeholder of the page", "http://0.0.0.0:2020/v1/dynamic/listener/64f1", ""},
		{"another scheme", strings.Replace(base, "http:", "https:", 1) + "64f1", ""},
		{"another path", "http://127.0.0.1:1/dckap/v1/other/64f1", ""},
		{"the base alone", base, ""},
		{"two segments", base + "64f1/x", ""},
		{"with a token", base + "64f1?access_token=canary-token-71", ""},
		{"with a user", strings.Replace(base, "http://", "http://canary-user-73@", 1) + "64f1", ""},
		{"parent", "..", ""},
		{"parent in a URL", base + "../64f1", ""},
		{"escaped parent in a URL", base + "%2e%2e%2f64f1", ""},
		{"slash", "a/b", ""},
		{"escaped slash", "a%2fb", ""},
		{"backslash", `a\b`, ""},
		{"query", "a?b", ""},
		{"empty", "", ""},
		{"space", "a b", ""},
		{"long", strings.Repeat("a", 201), ""},
	} {
		f.pipes = nil
		_, err := f.client.Call(t.Context(), dckap.Call{Listener: tt.listener})
		if tt.want == "" {
			if e := wantKind(t, err, clients.Invalid); !e.NotSent || f.pipes != nil {
				t.Errorf("%s: NotSent %v, breakers %v", tt.name, e.NotSent, f.pipes)
			}
			continue
		}
		wantKind(t, err, clients.Temporary) // nothing listens on port 1
		if len(f.pipes) != 1 || f.pipes[0] != tt.want {
			t.Errorf("%s: breakers %v, want that of %s", tt.name, f.pipes, tt.want)
		}
	}
}

func TestInvalidRequestsAreNotSent(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]dckap.Call{
		"method":           {Listener: "x", Method: "TRACE"},
		"HEAD":             {Listener: "x", Method: http.MethodHead},
		"body not JSON":    {Listener: "x", Body: json.RawMessage(`{`)},
		"body with GET":    {Listener: "x", Method: http.MethodGet, Body: json.RawMessage(`{}`)},
		"an access token":  {Listener: "x", Query: url.Values{"access_token": {"canary-token-71"}}},
		"a JWT":            {Listener: "x", Query: url.Values{"token": {"x"}}},
		"a JWT, long name": {Listener: "x", Query: url.Values{"JWT_Token": {"x"}}},
		"upper case":       {Listener: "x", Query: url.Values{"ACCESS_TOKEN": {"x"}}},
		"leading space":    {Listener: "x", Query: url.Values{" token": {"x"}}},
	} {
		f := start(t, dckap.Bearer, "")
		_, err := f.client.Call(t.Context(), call)
		if e := wantKind(t, err, clients.Invalid); !e.NotSent || f.Calls(dckaptest.OpCall) != 0 {
			t.Errorf("%s: NotSent %v", name, e.NotSent)
		}
		f.pipe.Expect(t)
	}
}

func TestOpenBreakersBlockCalls(t *testing.T) {
	t.Parallel()
	for _, refusal := range clientstest.Refusals() {
		for _, which := range []string{"pipe", "credential"} {
			t.Run(which+" "+refusal.Name, func(t *testing.T) {
				t.Parallel()
				f := start(t, dckap.Bearer, "")
				if which == "pipe" {
					f.pipe.Err = refusal.Err
				} else {
					f.credential.Err = refusal.Err
				}
				_, err := f.client.Call(t.Context(), order())
				if e := refusal.Check(t, err); e.Op != dckap.OpCall {
					t.Errorf("the refused operation is %q", e.Op)
				}
				if f.Calls(dckaptest.OpCall) != 0 {
					t.Errorf("%d calls", f.Calls(dckaptest.OpCall))
				}
				f.credential.Expect(t)
				if which == "credential" {
					f.pipe.Expect(t, admission.Inconclusive) // the permit is returned
				}
			})
		}
	}
}

func TestNoVerdictWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	f := start(t, dckap.Bearer, "")
	f.Inject(sandbox.Fault{Op: dckaptest.OpCall, Drop: true})
	_, err := f.client.Call(t.Context(), order())
	wantKind(t, err, clients.Unknown)
	f.credential.Expect(t, admission.Inconclusive)
	f.pipe.Expect(t, admission.Inconclusive)
}

// The tests above prove nothing unless the sandbox rejects wrong credentials.
func TestSandboxIsStrict(t *testing.T) {
	t.Parallel()
	f := start(t, dckap.Bearer, "")
	base := clientstest.Serve(t, f.Sandbox, dckaptest.Mount) + dckaptest.ListenerPath + dckaptest.Listener
	for _, tt := range []struct {
		name, query, authorization, header string
		status                             int
	}{
		{"nothing", "", "", "", 401},
		{"bearer", "", "Bearer " + token, "", 200},
		{"bearer with a JWT", "", "Bearer " + jwt, "", 200},
		{"wrong bearer", "", "Bearer x", "", 401},
		{"no scheme", "", token, "", 401},
		{"header", "", "", token, 200},
		{"header with a scheme", "", "", "Bearer " + token, 401},
		{"query", "?access_token=" + token, "", "", 200},
		{"JWT as access token", "?access_token=" + jwt, "", "", 401},
		{"JWT query", "?token=" + jwt, "", "", 200},
		{"two places", "?token=" + jwt, "Bearer " + token, "", 401},
		{"twice in a query", "?access_token=" + token + "&access_token=" + token, "", "", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+tt.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.authorization != "" {
			req.Header.Set("Authorization", tt.authorization)
		}
		if tt.header != "" {
			req.Header.Set("access_token", tt.header)
		}
		resp, err := webtest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
	}
}

func TestEvery403IsSettled(t *testing.T) {
	t.Parallel()
	f := start(t, dckap.Basic, "")
	account := &admissiontest.Admitter{}
	base := clientstest.Serve(t, f.Sandbox, dckaptest.Mount)
	f.connectThrough(
		t,
		config(base, dckap.Basic, ""),
		clients.NewCaller(dckap.Vendor, clients.Timeouts{}, nil, nil).AdmittedBy(account),
	)
	f.Inject(sandbox.Fault{Op: dckaptest.OpCall, Status: 403})
	_, err := f.client.Call(t.Context(), order())
	wantKind(t, err, clients.Credentials)
	account.ExpectConcluded(t, 1)
}
