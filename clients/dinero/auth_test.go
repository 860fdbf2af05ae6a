package dinero_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

func newLogin(t *testing.T, cfg dinero.Config, organization string, timeouts clients.Timeouts) *dinero.Login {
	t.Helper()
	l, err := dinero.NewLogin(cfg, organization, clients.NewCaller(dinero.Vendor, timeouts, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The credentials are those of the vendor's example, rasmus:dinero, and a key of
// characters that a form must escape.
func TestLoginMatchesTheVendorsPage(t *testing.T) {
	t.Parallel()
	sb := dinerotest.New(dinerotest.Options{})
	base := clientstest.Serve(t, sb, dinerotest.Mount)
	cfg := dinero.Config{
		ClientID:     dinerotest.ClientID,
		ClientSecret: secret.New(dinerotest.ClientSecret),
		APIKeys:      secret.New(dinerotest.Organization2 + "=" + dinerotest.APIKey2),
		TokenURL:     base + dinerotest.TokenPath,
		APIURL:       base,
	}
	grant, err := newLogin(t, cfg, dinerotest.Organization2, clients.Timeouts{}).Fetch(t.Context())
	if err != nil || !strings.HasPrefix(grant.Value.Reveal(), "token-"+dinerotest.Organization2) ||
		grant.Life != time.Hour {
		t.Fatalf("%v, %v", grant.Life, err)
	}
	r := sb.Requests(dinerotest.OpToken)[0]
	if r.Method != http.MethodPost || r.URI != "/dinero/dineroapi/oauth/token" {
		t.Errorf("%s %s", r.Method, r.URI)
	}
	for name, want := range map[string]string{
		"Authorization": "Basic cmFzbXVzOmRpbmVybw==",
		"Content-Type":  "application/x-www-form-urlencoded",
		"Accept":        "application/json",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	form, err := url.ParseQuery(string(r.Body))
	want := url.Values{
		"grant_type": {"password"},
		"scope":      {"read write"},
		"username":   {"k+/=&"},
		"password":   {"k+/=&"},
	}
	if err != nil || !reflect.DeepEqual(form, want) {
		t.Errorf("the form is %q (%v)", r.Body, err)
	}
	if string(r.Body) != "grant_type=password&password=k%2B%2F%3D%26&scope=read+write&username=k%2B%2F%3D%26" {
		t.Errorf("the form is %q", r.Body)
	}
}

func TestLoginOfOneOrganization(t *testing.T) {
	t.Parallel()
	sb := dinerotest.New(options())
	base := clientstest.Serve(t, sb, dinerotest.Mount)
	if _, err := newLogin(t, config(base), org, clients.Timeouts{}).Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sb.EffectsOf(dinerotest.OpToken, org) != 1 || sb.EffectsOf(dinerotest.OpToken, otherOrg) != 0 {
		t.Error("the login used another organization's key")
	}
	if _, err := dinero.NewLogin(config(base), "1", clients.NewCaller(dinero.Vendor, clients.Timeouts{}, nil, nil)); err == nil {
		t.Error("NewLogin accepts an organization without a key")
	}
}

func TestWrongCredential(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*dinero.Config){
		"client id":     func(c *dinero.Config) { c.ClientID = "canary-secret-71" },
		"client secret": func(c *dinero.Config) { c.ClientSecret = secret.New("canary-token-74") },
		"key":           func(c *dinero.Config) { c.APIKeys = secret.New(org + "=canary-key-73x") },
	} {
		sb := dinerotest.New(options())
		cfg := config(clientstest.Serve(t, sb, dinerotest.Mount))
		change(&cfg)
		_, err := newLogin(t, cfg, org, clients.Timeouts{}).Fetch(t.Context())
		refused, ok := errors.AsType[*tokens.RefusedError](err)
		if !ok || refused.Profile != "dinero-"+org {
			t.Errorf("%s: %v", name, err)
		}
		clientstest.NoLeak(t, err, canaries...)
	}
}

func TestLoginAnswers(t *testing.T) {
	t.Parallel()
	const refused = clients.Kind(254)
	const granted = clients.Kind(255)
	for _, tt := range []struct {
		status int
		body   string
		want   clients.Kind
		life   time.Duration
	}{
		{200, `{"access_token":"t","token_type":"Bearer","expires_in":3600,"refresh_token":null}`, granted, time.Hour},
		{200, `{"access_token":"t","token_type":"bearer","expires_in":"3600"}`, granted, time.Hour},
		{200, `{"access_token":"t","expires_in":59.5,"refresh_token":"r"}`, granted, 59500 * time.Millisecond},
		{200, `{"access_token":"t","token_type":null}`, granted, 0},
		{200, `{"access_token":"t","expires_in":null}`, granted, 0},
		{200, `{"access_token":"t","expires_in":0}`, granted, 0},
		{200, `{"access_token":"t","expires_in":-1}`, granted, 0},
		{200, `{"access_token":"t","expires_in":"soon"}`, granted, 0},
		{200, `{"access_token":"t","expires_in":"NaN"}`, granted, 0},
		{200, `{"access_token":"t","expires_in":{}}`, granted, 0},
		{200, `{"access_token":"t","expires_in":1e30}`, granted, 24 * time.Hour},
		{200, `{"access_token":"t","error":null}`, granted, 0},
		{200, `{"access_token":"","expires_in":3600}`, clients.Unknown, 0},
		{200, `{"access_token":null}`, clients.Unknown, 0},
		{200, `{"access_token":7}`, clients.Unknown, 0},
		{200, `{"access_token":"a b"}`, clients.Unknown, 0},
		{200, `{"access_token":"t","token_type":"mac"}`, clients.Unknown, 0},
		{200, `{"access_token":"t","token_type":7}`, clients.Unknown, 0},
		{200, `{"access_token":"t","error":"odd"}`, clients.Unknown, 0},
		{200, `<html>`, clients.Unknown, 0},
		{200, ``, clients.Unknown, 0},
		{200, `null`, clients.Unknown, 0},
		{200, `{"error":"invalid_grant"}`, refused, 0},
		{400, `{"error":"invalid_grant","error_description":"canary-key-72"}`, refused, 0},
		{400, `{"error":"invalid_client"}`, refused, 0},
		{400, `{"error":"unauthorized_client"}`, refused, 0},
		{400, `{"error":"access_denied"}`, refused, 0},
		{400, `{"error":"invalid_request"}`, refused, 0},
		{400, `{"error":"invalid_scope"}`, refused, 0},
		{400, `{"error":"unsupported_grant_type"}`, refused, 0},
		{400, ``, refused, 0},
		{400, `<html>`, refused, 0},
		{401, ``, refused, 0},
		{403, ``, refused, 0},
		{404, `{"error":"invalid_client"}`, refused, 0},
		{404, ``, clients.Invalid, 0},
		{302, ``, clients.Invalid, 0},
		{429, `{"error":"invalid_grant"}`, clients.Blocked, 0},
		{500, `{"error":"invalid_grant"}`, clients.Unknown, 0},
		{503, ``, clients.Temporary, 0}, // with Retry-After
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.body), func(t *testing.T) {
			t.Parallel()
			sb := dinerotest.New(options())
			sb.Inject(sandbox.Fault{
				Op:         dinerotest.OpToken,
				Status:     tt.status,
				Body:       new(tt.body),
				RetryAfter: "7",
			})
			grant, err := newLogin(
				t,
				config(clientstest.Serve(t, sb, dinerotest.Mount)),
				org,
				clients.Timeouts{},
			).Fetch(t.Context())
			switch tt.want {
			case granted:
				if err != nil || grant.Value.Reveal() != "t" || grant.Life != tt.life {
					t.Errorf("%v, %v", grant.Life, err)
				}
			case refused:
				if _, isRefusal := errors.AsType[*tokens.RefusedError](err); !isRefusal {
					t.Errorf("%v, want a refusal", err)
				}
				clientstest.NoLeak(t, err, canaries...)
			default:
				if e := wantKind(t, err, tt.want); tt.status == 429 && e.RetryAfterHint() != 7*time.Second {
					t.Errorf("RetryAfter %v", e.RetryAfter)
				}
			}
		})
	}
}

func TestSharedChecksOfLogin(t *testing.T) {
	t.Parallel()
	subject := clientstest.Subject{
		Op:       dinerotest.OpToken,
		Login:    true,
		Mount:    dinerotest.Mount,
		Canaries: canaries,
		New:      func(*testing.T) clientstest.Sandbox { return dinerotest.New(options()) },
		Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
			l := newLogin(t, config(baseURL), org, timeouts)
			return func(ctx context.Context) error { _, err := l.Fetch(ctx); return err }
		},
	}
	t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
	t.Run("leaks", func(t *testing.T) { t.Parallel(); clientstest.Leaks(t, subject) })
}

// A login does not count as an attempt of the task that needs the token.
func TestLoginIsNotAnAttempt(t *testing.T) {
	t.Parallel()
	sb := dinerotest.New(options())
	ctx, attempt := clients.WithAttempt(t.Context(), nil)
	if _, err := newLogin(t, config(clientstest.Serve(t, sb, dinerotest.Mount)), org, clients.Timeouts{}).Fetch(ctx); err != nil ||
		attempt.Sent() {
		t.Errorf("sent %v, %v", attempt.Sent(), err)
	}
}
