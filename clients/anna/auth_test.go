package anna_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

func newLogin(t *testing.T, cfg anna.Config) *anna.Login {
	t.Helper()
	l, err := anna.NewLogin(cfg, clients.NewCaller("anna", clients.Timeouts{}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLoginRequest(t *testing.T) {
	t.Parallel()
	for name, trailing := range map[string]string{"slash": "/", "no slash": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			base := strings.TrimRight(clientstest.Serve(t, sb, mount), "/") + trailing
			grant, err := newLogin(t, config(base)).Fetch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r := sb.Requests("")[0]
			if r.Method != http.MethodPost || r.URI != mount+"REST/Credentials/GetToken" ||
				r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s as %q", r.Method, r.URI, r.Header.Get("Content-Type"))
			}
			if _, there := r.Header["Authorization"]; there {
				t.Error("the login carries an Authorization header")
			}
			clientstest.Golden(t, "testdata/token-request.json", r.Body)
			c := newClient(t, config(base), &fixed{grant: grant}, clients.Timeouts{})
			if err := c.Inactivate(t.Context(), userID); err != nil || sb.Active(userID) {
				t.Errorf("the granted token does not work: %v", err)
			}
		})
	}
}

// fixed is a Source of one granted token.
type fixed struct {
	source
	grant tokens.Grant
}

func (f *fixed) Get(context.Context) (tokens.Token, error) {
	return tokens.Token{Value: f.grant.Value, Gen: 1}, nil
}

func TestLoginAnswers(t *testing.T) {
	t.Parallel()
	const refused clients.Kind = 254
	status := func(code int, text string) sandbox.Fault { return sandbox.Fault{Status: code, Body: new(text)} }
	const good = `"data":{"Token":"t","ExpiresIn":"60"}`
	tests := []struct {
		name  string
		fault sandbox.Fault
		want  clients.Kind
	}{
		{"the page's answer", body(string(clientstest.ReadFile(t, "testdata/token.json"))), ok},
		{"other casing", body(`{"Success":true,"Data":{"token":"JWT_TOKEN"}}`), ok},
		{"no ExpiresIn", body(`{"success":true,"data":{"Token":"JWT_TOKEN"}}`), ok},
		{"ExpiresIn an object", body(`{"success":true,"data":{"Token":" JWT_TOKEN\n","ExpiresIn":{}}}`), ok},

		{"success false", body(`{"success":false,"message":"x"}`), refused},
		{"success false with a token", body(`{"success":false,` + good + `}`), refused},
		{"no data", body(`{"success":true}`), refused},
		{"data null", body(`{"success":true,"data":null}`), refused},
		{"no token", body(`{"success":true,"data":{"ExpiresIn":"60"}}`), refused},
		{"token null", body(`{"success":true,"data":{"Token":null}}`), refused},
		{"token empty", body(`{"success":true,"data":{"Token":""}}`), refused},
		{"token blank", body(`{"success":true,"data":{"Token":"  "}}`), refused},
		{"neither success nor token", body(`{"message":"x"}`), refused},
		{"empty object", body(`{}`), refused},
		{"401", status(401, ``), refused},
		{"401 with success", status(401, `{"success":true,`+good+`}`), refused},
		{"403", status(403, `{"success":false}`), refused},

		{"success missing", body(`{` + good + `}`), clients.Unknown},
		{"success a text", body(`{"success":"true",` + good + `}`), clients.Unknown},
		{"token a number", body(`{"success":true,"data":{"Token":7}}`), clients.Unknown},
		{"data a list", body(`{"success":true,"data":[]}`), clients.Unknown},
		{"token that no header can carry", body(`{"success":true,"data":{"Token":"a\nb"}}`), clients.Unknown},
		{"empty", body(``), clients.Unknown},
		{"null", body(`null`), clients.Unknown},
		{"a text", body(`"t"`), clients.Unknown},
		{"not JSON", body(`token`), clients.Unknown},
		{"web page", sandbox.Fault{HTML: true}, clients.Unknown},
		{"cut off", sandbox.Fault{Truncate: true}, clients.Unknown},
		{"too long", sandbox.Fault{Oversized: true}, clients.Unknown},
		{"500 with success", status(500, `{"success":true,`+good+`}`), clients.Unknown},
		{"500 with failure", status(500, `{"success":false}`), clients.Unknown},
		{"503", status(503, `{"success":false}`), clients.Temporary},
		{"429", status(429, `{"success":false}`), clients.RateLimited},
		{"404 with failure", status(404, `{"success":false}`), clients.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			sb.Inject(tt.fault)
			grant, err := newLogin(t, config(clientstest.Serve(t, sb, mount))).Fetch(t.Context())
			if n := sb.Calls(annatest.OpToken); n != 1 {
				t.Errorf("%d logins, want 1", n)
			}
			if tt.want == ok {
				if err != nil || grant.Value.Reveal() != "JWT_TOKEN" || grant.Life != 5*time.Minute {
					t.Errorf("token %q for %v, %v, want JWT_TOKEN for 5 min", grant.Value.Reveal(), grant.Life, err)
				}
				return
			}
			if grant != (tokens.Grant{}) {
				t.Error("a token came beside the error")
			}
			if tt.want != refused {
				wantKind(t, err, tt.want)
				if _, found := errors.AsType[*tokens.RefusedError](err); found {
					t.Errorf("a fault of the service is called a refusal: %v", err)
				}
				return
			}
			if e, found := errors.AsType[*tokens.RefusedError](err); !found || e.Profile != "anna" {
				t.Errorf("error %v (%T), want a *tokens.RefusedError of anna", err, err)
			}
			clientstest.NoLeak(t, err, canaries...)
		})
	}
}

func TestLoginWithAWrongAccount(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*anna.Config){
		"password": func(c *anna.Config) { c.Password = secret.New("canary-wrong-79") },
		"user":     func(c *anna.Config) { c.User = "canary-wrong-79" },
		"company":  func(c *anna.Config) { c.CompanyHash = secret.New("canary-wrong-79") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			cfg := config(clientstest.Serve(t, sb, mount))
			spoil(&cfg)
			_, err := newLogin(t, cfg).Fetch(t.Context())
			if _, found := errors.AsType[*tokens.RefusedError](err); !found {
				t.Fatalf("error %v, want a *tokens.RefusedError", err)
			}
			clientstest.NoLeak(t, err, append([]string{"canary-wrong-79"}, canaries...)...)
			if sb.Effects(annatest.OpToken) != 0 {
				t.Error("the sandbox let a wrong account in")
			}
		})
	}
}

// A login is no attempt of the task under whose context it happens to run.
func TestLoginIsNoAttempt(t *testing.T) {
	t.Parallel()
	sb := newSandbox(annatest.Options{})
	ctx, attempt := clients.WithAttempt(t.Context(), func() { t.Error("the login was taken for the task's call") })
	if _, err := newLogin(t, config(clientstest.Serve(t, sb, mount))).Fetch(ctx); err != nil {
		t.Fatal(err)
	}
	if attempt.Sent() {
		t.Error("the login counts as sent by the task")
	}
}
