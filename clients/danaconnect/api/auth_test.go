package api_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

func TestLoginRequest(t *testing.T) {
	t.Parallel()
	// Neither id nor secret is escaped before base64, as with the vendor's curl -u.
	const id, key = "id+/= &", "k+/=&:% é"
	for name, trailing := range map[string]string{"as on the page": "", "slash at the end": "/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := danaconnecttest.New(danaconnecttest.Options{Clients: map[string]string{id: key}})
			cfg := config(clientstest.Serve(t, sb, danaconnecttest.Mount))
			cfg.ClientID = id
			cfg.ClientSecret = secret.New(key)
			cfg.TokenURL += trailing
			grant, err := newLogin(t, cfg, clients.Timeouts{}).Fetch(t.Context())
			if err != nil || grant.Value.Empty() || grant.Life != time.Hour {
				t.Fatalf("life %v, %v", grant.Life, err)
			}
			r := sb.Requests("")[0]
			if r.Method != http.MethodPost || r.URI != danaconnecttest.Mount+"oauth2/token" ||
				string(r.Body) != "grant_type=client_credentials" {
				t.Errorf("%s %s %q", r.Method, r.URI, r.Body)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json",
				"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+key)),
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestLoginAnswers(t *testing.T) {
	t.Parallel()
	const refused clients.Kind = 254
	tests := []struct {
		name   string
		status int
		body   string
		life   time.Duration // of a grant
		kind   clients.Kind
	}{
		{"the page's", 200, string(clientstest.ReadFile(t, "testdata/token.json")), time.Hour, 0},
		{"seconds as text", 200, `{"access_token":"t","token_type":"bearer","expires_in":"3600"}`, time.Hour, 0},
		{"no type", 200, `{"access_token":"t","expires_in":60}`, time.Minute, 0},
		{
			"with a scope",
			201,
			`{"access_token":"t","expires_in":60,"scope":"x","refresh_token":null,"error":null}`,
			time.Minute,
			0,
		},
		{"a fraction", 200, `{"access_token":"t","expires_in":90.5}`, 90500 * time.Millisecond, 0},
		{"no life", 200, `{"access_token":"t"}`, 30 * time.Second, 0},
		{"life null", 200, `{"access_token":"t","expires_in":null}`, 30 * time.Second, 0},
		{"life 0", 200, `{"access_token":"t","expires_in":0}`, 30 * time.Second, 0},
		{"life negative", 200, `{"access_token":"t","expires_in":-1}`, 30 * time.Second, 0},
		{"life words", 200, `{"access_token":"t","expires_in":"soon"}`, 30 * time.Second, 0},
		{"life NaN", 200, `{"access_token":"t","expires_in":"NaN"}`, 30 * time.Second, 0},
		{"life an object", 200, `{"access_token":"t","expires_in":{}}`, 30 * time.Second, 0},
		{"life a boolean", 200, `{"access_token":"t","expires_in":true}`, 30 * time.Second, 0},
		{"life for ever", 200, `{"access_token":"t","expires_in":1e300}`, 30 * 24 * time.Hour, 0},

		{"no token", 200, `{}`, 0, clients.Unknown},
		{"empty token", 200, `{"access_token":"","expires_in":60}`, 0, clients.Unknown},
		{"token null", 200, `{"access_token":null}`, 0, clients.Unknown},
		{"token a number", 200, `{"access_token":7}`, 0, clients.Unknown},
		{"token with a line end", 200, `{"access_token":"a\r\nX: y"}`, 0, clients.Unknown},
		{"token with a space", 200, `{"access_token":"a b"}`, 0, clients.Unknown},
		{"token not ASCII", 200, `{"access_token":"é"}`, 0, clients.Unknown},
		{"another type", 200, `{"access_token":"t","token_type":"MAC"}`, 0, clients.Unknown},
		{"type a number", 200, `{"access_token":"t","token_type":1}`, 0, clients.Unknown},
		{"token beside an error", 200, `{"access_token":"t","error":"odd"}`, 0, clients.Unknown},
		{"web page", 200, `<html>`, 0, clients.Unknown},

		{"invalid_client", 401, `{"error":"invalid_client"}`, 0, refused},
		{"invalid_client with 400", 400, `{"error":"invalid_client"}`, 0, refused},
		{"invalid_client with 200", 200, `{"error":"invalid_client","access_token":"t"}`, 0, refused},
		{"unauthorized_client", 400, `{"error":"unauthorized_client"}`, 0, refused},
		{"invalid_grant", 400, `{"error":"invalid_grant"}`, 0, refused},
		{"access_denied", 403, `{"error":"access_denied"}`, 0, refused},
		{"invalid_request", 400, `{"error":"invalid_request"}`, 0, refused},
		{"invalid_scope", 400, `{"error":"invalid_scope"}`, 0, refused},
		{"unsupported_grant_type", 400, `{"error":"unsupported_grant_type"}`, 0, refused},
		{"400", 400, ``, 0, refused},
		{"401", 401, `{"error":"canary-prose"}`, 0, refused},
		{"403", 403, `<html>`, 0, refused},
		{"404", 404, ``, 0, clients.Invalid},
		{"302", 302, ``, 0, clients.Invalid},
		{"408", 408, `{"error":"invalid_client"}`, 0, clients.Unknown},
		{"429", 429, `{"error":"invalid_client"}`, 0, clients.Blocked},
		{"500", 500, `{"error":"invalid_client"}`, 0, clients.Unknown},
		{"500 with a token", 500, `{"access_token":"t","expires_in":60}`, 0, clients.Unknown},
		{"503", 503, `{"error":"temporarily_unavailable"}`, 0, clients.Temporary}, // with Retry-After
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb := danaconnecttest.New(danaconnecttest.Options{})
			sb.Inject(sandbox.Fault{
				Op:         danaconnecttest.OpToken,
				Status:     tt.status,
				Body:       &tt.body,
				RetryAfter: "7",
			})
			grant, err := newLogin(
				t,
				config(clientstest.Serve(t, sb, danaconnecttest.Mount)),
				clients.Timeouts{},
			).Fetch(t.Context())
			if tt.life > 0 {
				if err != nil || grant.Life != tt.life || grant.Value.Empty() {
					t.Errorf("life %v, %v, want %v", grant.Life, err, tt.life)
				}
				return
			}
			if !grant.Value.Empty() {
				t.Error("a token beside the error")
			}
			clientstest.NoLeak(t, err, append(canaries, "canary-prose")...)
			if tt.kind == refused {
				if r, ok := errors.AsType[*tokens.RefusedError](err); !ok || r.Profile != "danaconnect-api" ||
					r.Reason == "" {
					t.Errorf("error %#v, want a refusal", err)
				}
				return
			}
			e := fault(t, err, tt.kind)
			var hint interface{ RetryAfterHint() time.Duration }
			if !errors.As(err, &hint) {
				t.Fatal("the error has no Retry-After")
			}
			if waits := tt.status == 408 || tt.status == 429 || tt.status >= 500; waits != (hint.RetryAfterHint() == 7*time.Second) {
				t.Errorf("Retry-After %v of %v", hint.RetryAfterHint(), e)
			}
		})
	}
}

func TestTokenOfTheLoginIsAccepted(t *testing.T) {
	t.Parallel()
	for _, o := range []danaconnecttest.Options{{TokenLife: 5 * time.Minute}, {TokenLife: 5 * time.Minute, LooseTypes: true}, {TokenLife: -1}} {
		sb := danaconnecttest.New(o)
		cfg := config(clientstest.Serve(t, sb, danaconnecttest.Mount))
		grant, err := newLogin(t, cfg, clients.Timeouts{}).Fetch(t.Context())
		if want := max(o.TokenLife, 30*time.Second); err != nil || grant.Life != want {
			t.Fatalf("life %v, %v, want %v", grant.Life, err, want)
		}
		answer, err := newClient(
			t,
			cfg,
			tokens.Fixed(grant.Value.Reveal()),
			clients.Timeouts{},
		).StartConversation(t.Context(), exampleStart())
		if err != nil || len(sb.Starts()) != 1 {
			t.Errorf("%+v, %v", answer, err)
		}
	}
}
