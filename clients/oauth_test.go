package clients_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// loginTransport is a transport that gives one answer and records the request.
type loginTransport struct {
	status int
	body   string
	sent   *http.Request
	form   string
}

func (l *loginTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(r.Body)
	l.sent, l.form = r, string(raw)
	return &http.Response{
		StatusCode: l.status,
		Header:     http.Header{"Retry-After": {"7"}},
		Body:       io.NopCloser(strings.NewReader(l.body)),
		Request:    r,
	}, err
}

func (l *loginTransport) fetch(t *testing.T) (tokens.Grant, error) {
	t.Helper()
	return clients.TokenRequest{
		URL:          "https://acme.example/token",
		ClientID:     "canary-id",
		ClientSecret: secret.New("canary+/= &"),
		Form:         url.Values{"grant_type": {"client_credentials"}, "scope": {"a b"}},
		Profile:      "acme-1",
		DefaultLife:  30 * time.Second,
		MaxLife:      time.Hour,
	}.Fetch(t.Context(), clients.NewCaller("acme", clients.Timeouts{}, l, nil))
}

func TestTokenRequestIsAFormWithHTTPBasic(t *testing.T) {
	t.Parallel()
	l := &loginTransport{status: 200, body: `{"access_token":"t"}`}
	if _, err := l.fetch(t); err != nil {
		t.Fatal(err)
	}
	id, key, _ := l.sent.BasicAuth()
	if l.sent.Method != http.MethodPost || l.sent.URL.String() != "https://acme.example/token" ||
		id != "canary-id" || key != "canary+/= &" ||
		l.form != "grant_type=client_credentials&scope=a+b" ||
		l.sent.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%s %s %q %v", l.sent.Method, l.sent.URL, l.form, l.sent.Header)
	}
}

func TestTokenAnswersAreReadAsRFC6749Says(t *testing.T) {
	t.Parallel()
	for body, life := range map[string]time.Duration{
		`{"access_token":"t","token_type":"bearer","expires_in":60}`: time.Minute,
		`{"access_token":"t","expires_in":"60.5"}`:                   60500 * time.Millisecond,
		`{"access_token":"t","expires_in":1e300}`:                    time.Hour,
		`{"access_token":"t","expires_in":0,"error":null}`:           30 * time.Second,
		`{"access_token":"t","expires_in":"NaN","token_type":null}`:  30 * time.Second,
		`{"access_token":"t","expires_in":{}}`:                       30 * time.Second,
		`{"access_token":"t"}`:                                       30 * time.Second,
	} {
		if grant, err := (&loginTransport{status: 200, body: body}).fetch(t); err != nil || grant.Value.Reveal() != "t" ||
			grant.Life != life {
			t.Errorf("%s: life %v, %v", body, grant.Life, err)
		}
	}
	for _, body := range []string{
		``,
		`null`,
		`<html>`,
		`{}`,
		`{"access_token":7}`,
		`{"access_token":"a b"}`,
		`{"access_token":"a\r\nX: y"}`,
		`{"access_token":"t","token_type":"mac"}`,
		`{"access_token":"t","error":"odd"}`,
	} {
		_, err := (&loginTransport{status: 200, body: body}).fetch(t)
		if e, ok := clients.AsError(err); !ok || e.Kind != clients.Unknown || e.Vendor != "acme" ||
			e.Op != clients.OpToken {
			t.Errorf("%s: %v", body, err)
		}
	}
	for status, kind := range map[int]clients.Kind{
		302: clients.Invalid,
		404: clients.Invalid,
		408: clients.Unknown,
		425: clients.Blocked,
		429: clients.Blocked,
		500: clients.Unknown,
		503: clients.Temporary,
	} {
		body := `{"error":"invalid_client","access_token":"t"}`
		if status < 400 || status == 404 {
			body = "" // a listed OAuth error would count before the status
		}
		_, err := (&loginTransport{status: status, body: body}).fetch(t)
		if e, ok := clients.AsError(err); !ok || e.Kind != kind ||
			(e.RetryAfterHint() == 7*time.Second) != (body != "") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestTokenRefusalsAreRefusedErrors(t *testing.T) {
	t.Parallel()
	want := map[string]*loginTransport{
		"HTTP 400": {status: 400},
		"HTTP 401": {status: 401, body: `{"error":"canary-prose"}`},
		"HTTP 403": {status: 403},
	}
	for _, code := range clients.TokenRefusals() {
		want[code] = &loginTransport{status: 200, body: fmt.Sprintf(`{"error":%q,"access_token":"t"}`, code)}
	}
	if len(want) != 10 {
		t.Errorf("%d refusals, want 10", len(want))
	}
	for reason, l := range want {
		_, err := l.fetch(t)
		refused, ok := errors.AsType[*tokens.RefusedError](err)
		if !ok || refused.Profile != "acme-1" || refused.Reason != "the token request was answered with "+reason {
			t.Errorf("%s: %v", reason, err)
			continue
		}
		clientstest.NoLeak(t, err, "canary-prose", "canary-id", "canary+/= &", "acme.example")
	}
	if list := clients.TokenRefusals(); !slices.Contains(list, "invalid_client") {
		t.Errorf("%q", list)
	}
}

func FuzzTokenAnswer(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"t","token_type":"Bearer","expires_in":3600}`,
		`{"error":"invalid_client"}`,
		`{"access_token":"t","expires_in":"1e99"}`,
		"",
		"null",
		"<html>",
		"\xef\xbb\xbf{}",
	} {
		f.Add(0, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		l := &loginTransport{status: 200 + (status%800+800)%800, body: body}
		grant, err := l.fetch(t)
		if err == nil {
			if l.status > 299 || grant.Life <= 0 || grant.Life > time.Hour || grant.Value.Empty() ||
				strings.ContainsAny(grant.Value.Reveal(), " \r\n") {
				t.Errorf("a useless grant: status %d, life %v", l.status, grant.Life)
			}
			return
		}
		if !grant.Value.Empty() {
			t.Error("a token together with an error")
		}
		if _, ok := clients.AsError(clientstest.AsCredentials(clients.OpToken, err)); !ok {
			t.Errorf("%T", err)
		}
		clientstest.NoLeak(t, err, "canary-id", "canary+/= &", "acme.example")
	})
}
