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
			if _, found := r.Header["Authorization"]; found {
				t.Error("the login has an Authorization header")
			}
			clientstest.Golden(t, "testdata/token-request.json", r.Body)
			c := newClient(t, config(base), &fixed{grant: grant}, clients.Timeouts{})
			if err := c.Inactivate(t.Context(), userID); err != nil || sb.Active(userID) {
				t.Errorf("the granted token does not work: %v", err)
			}
		})
	}
}

// fixed is a Source that always returns the granted token.
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
	const good = `"data":{"Token":"t","ExpiresIn":"60"}`
	tests := []struct {
		name  string
		fault sandbox.Fault
		want  clients.Kind
	}{
		{"the page's answer", answerWith(string(clientstest.ReadFile(t, "testdata/token.json"))), ok},
		{"other casing", answerWith(`{"Success":true,"Data":{"token":"JWT_TOKEN"}}`), ok},
		{"no ExpiresIn", answerWith(`{"success":true,"data":{"Token":"JWT_TOKEN"}}`), ok},
		{"ExpiresIn an object", answerWith(`{"success":true,"data":{"Token":" JWT_TOKEN\n","ExpiresIn":{}}}`), ok},

		{"success false", answerWith(`{"success":false,"message":"x"}`), refused},
		{"success false with a token", answerWith(`{"success":false,` + good + `}`), refused},
		{"no data", answerWith(`{"success":true}`), refused},
		{"data null", answerWith(`{"success":true,"data":null}`), refused},
		{"no token", answerWith(`{"success":true,"data":{"ExpiresIn":"60"}}`), refused},
		{"token null", answerWith(`{"success":true,"data":{"Token":null}}`), refused},
		{"token empty", answerWith(`{"success":true,"data":{"Token":""}}`), refused},
		{"token blank", answerWith(`{"success":true,"data":{"Token":"  "}}`), refused},
		{"neither success nor token", answerWith(`{"message":"x"}`), refused},
		{"empty object", answerWith(`{}`), refused},
		{"401", answerStatus(401, ``), refused},
		{"401 with success", answerStatus(401, `{"success":true,`+good+`}`), refused},
		{"403", answerStatus(403, `{"success":false}`), refused},

		{"success missing", answerWith(`{` + good + `}`), clients.Unknown},
		{"success a text", answerWith(`{"success":"true",` + good + `}`), clients.Unknown},
		{"token a number", answerWith(`{"success":true,"data":{"Token":7}}`), clients.Unknown},
		{"data a list", answerWith(`{"success":true,"data":[]}`), clients.Unknown},
		{"token not valid in a header", answerWith(`{"success":true,"data":{"Token":"a\nb"}}`), clients.Unknown},
		{"empty", answerWith(``), clients.Unknown},
		{"null", answerWith(`null`), clients.Unknown},
		{"a text", answerWith(`"t"`), clients.Unknown},
		{"not JSON", answerWith(`token`), clients.Unknown},
		{"web page", sandbox.Fault{HTML: true}, clients.Unknown},
		{"truncated", sandbox.Fault{Truncate: true}, clients.Unknown},
		{"too long", sandbox.Fault{Oversized: true}, clients.Unknown},
		{"500 with success", answerStatus(500, `{"success":true,`+good+`}`), clients.Unknown},
		{"500 with failure", answerStatus(500, `{"success":false}`), clients.Unknown},
		{"503", answerStatus(503, `{"success":false}`), clients.Temporary},
		{"503 alone", answerStatus(503, ``), clients.Unknown},
		{"429", answerStatus(429, `{"success":false}`), clients.Blocked},
		{"404 with failure", answerStatus(404, `{"success":false}`), clients.Invalid},
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
				t.Error("a token was returned with the error")
			}
			if tt.want != refused {
				wantKind(t, err, tt.want)
				if _, found := errors.AsType[*tokens.RefusedError](err); found {
					t.Errorf("an error of the service is reported as a refusal: %v", err)
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
	for name, change := range map[string]func(*anna.Config){
		"password": func(c *anna.Config) { c.Password = secret.New("canary-wrong-79") },
		"user":     func(c *anna.Config) { c.User = "canary-wrong-79" },
		"company":  func(c *anna.Config) { c.CompanyHash = secret.New("canary-wrong-79") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			cfg := config(clientstest.Serve(t, sb, mount))
			change(&cfg)
			_, err := newLogin(t, cfg).Fetch(t.Context())
			if _, found := errors.AsType[*tokens.RefusedError](err); !found {
				t.Fatalf("error %v, want a *tokens.RefusedError", err)
			}
			clientstest.NoLeak(t, err, append([]string{"canary-wrong-79"}, canaries...)...)
			if sb.Effects(annatest.OpToken) != 0 {
				t.Error("the sandbox accepted the wrong account")
			}
		})
	}
}

// A login must not count as a call of the task whose context it runs under.
func TestLoginIsNotTheTasksCall(t *testing.T) {
	t.Parallel()
	sb := newSandbox(annatest.Options{})
	ctx, attempt := clients.WithAttempt(t.Context(), func() { t.Error("the login was reported as the task's call") })
	if _, err := newLogin(t, config(clientstest.Serve(t, sb, mount))).Fetch(ctx); err != nil {
		t.Fatal(err)
	}
	if attempt.Sent() {
		t.Error("the login counts as sent by the task")
	}
}

// The login skips the checks of bodies: for it an object without a token is a
// refusal, see TestLoginAnswers.
func TestSharedChecksOfTheLogin(t *testing.T) {
	t.Parallel()
	subject := clientstest.Subject{
		Op:       annatest.OpToken,
		Login:    true,
		Mount:    mount,
		New:      func(*testing.T) clientstest.Sandbox { return newSandbox(annatest.Options{}) },
		Canaries: canaries,
		Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
			l, err := anna.NewLogin(config(baseURL), clients.NewCaller("anna", timeouts, nil, nil))
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) error {
				_, err := l.Fetch(ctx)
				return clientstest.AsCredentials(annatest.OpToken, err)
			}
		},
	}
	t.Run("statuses", func(t *testing.T) { t.Parallel(); clientstest.Statuses(t, subject) })
	t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
	t.Run("leaks", func(t *testing.T) { t.Parallel(); clientstest.Leaks(t, subject) })
}
