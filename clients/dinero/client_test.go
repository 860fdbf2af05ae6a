package dinero_test

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/admission/admissiontest"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

func TestSharedChecks(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			subject := clientstest.Subject{
				Op:         o.op,
				Mount:      dinerotest.Mount,
				Canaries:   canaries,
				Unreadable: clients.Unknown,
				New:        func(*testing.T) clientstest.Sandbox { return newSandbox(options()) },
				Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
					f := &fixture{source: &source{}, breaker: &clientstest.Gate{}}
					f.connect(t, baseURL, timeouts)
					return func(ctx context.Context) error { return o.run(ctx, f.client) }
				},
			}
			t.Run("statuses", func(t *testing.T) { t.Parallel(); clientstest.Statuses(t, subject) })
			t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
			if o.name == dinero.OpCall {
				return // the vendor may answer any JSON; see TestBodiesOfCall
			}
			t.Run("bodies", func(t *testing.T) { t.Parallel(); clientstest.Bodies(t, subject) })
			t.Run("leaks", func(t *testing.T) { t.Parallel(); clientstest.Leaks(t, subject) })
		})
	}
}

func TestRequestsMatchTheVendorsPage(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.FixedZone("CEST", 7200))
	for _, tt := range []struct {
		name, method, uri string
		call              func(context.Context, *dinero.Client) error
	}{
		{"invoice-create", "POST", "/dinero/v1/123456/invoices", operations[0].run},
		{"contact-create", "POST", "/dinero/v1/123456/contacts", operations[1].run},
		{"invoice-find", "GET", "/dinero/v1/123456/invoices?changesSince=2026-04-04T01%3A02%3A01&deletedOnly=false&fields=Guid%2CExternalReference&page=0&pageSize=100", operations[2].run},
		{"contact-find", "GET", "/dinero/v1/123456/contacts?changesSince=2026-04-04T01%3A02%3A01Z&deletedOnly=false&fields=ContactGuid%2CExternalReference&page=0&pageSize=100", operations[3].run},
		{"call", "PUT", "/dinero/v1.2/123456/invoices/g%20x?a=1&a=2&b=%26", func(ctx context.Context, c *dinero.Client) error {
			_, err := c.Call(ctx, dinero.Request{
				Organization: org,
				Method:       "PUT",
				Version:      "v1.2",
				Path:         "/invoices/g%20x",
				Query:        url.Values{"a": {"1", "2"}, "b": {"&"}},
				Body:         json.RawMessage(`{"n":12345678901234567890.10}`),
			})
			return err
		}},
		{"call-delete", "DELETE", "/dinero/v1/123456/contacts/g", func(ctx context.Context, c *dinero.Client) error {
			_, err := c.Call(ctx, dinero.Request{Organization: org, Method: "DELETE", Path: "contacts/g"})
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, options())
			f.client.SetNow(func() time.Time { return now })
			_ = tt.call(t.Context(), f.client) // only the request matters
			r := f.Requests("")[0]
			if r.Method != tt.method || r.URI != tt.uri {
				t.Errorf("%s %s\nwant %s %s", r.Method, r.URI, tt.method, tt.uri)
			}
			contentType := ""
			if len(r.Body) > 0 {
				contentType = "application/json"
				clientstest.Golden(t, "testdata/"+tt.name+"-request.json", r.Body)
			} else if tt.method == "POST" || tt.method == "PUT" {
				t.Error("no body")
			}
			for name, want := range map[string]string{
				"Authorization":   "Bearer " + oldToken,
				"Accept":          "application/json",
				"Content-Type":    contentType,
				"Idempotency-Key": "", // net/http would retry a POST that has one
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestPathStaysBelowTheOrganization(t *testing.T) {
	t.Parallel()
	f := start(t, options())
	for _, r := range []dinero.Request{
		{Path: ""},
		{Path: "/"},
		{Path: ".."},
		{Path: "../654321/contacts"},
		{Path: "a/../../654321/contacts"},
		{Path: "%2e%2e/654321/contacts"},
		{Path: "..%2f654321"},
		{Path: "//evil.example/x"},
		{Path: "https://evil.example/"},
		{Path: `..\654321`},
		{Path: "contacts?x=1"},
		{Path: "contacts#x"},
		{Path: "contacts", Version: "v1/654321"},
		{Path: "contacts", Version: ".."},
		{Path: "contacts", Version: "1"},
		{Path: "contacts", Version: "v"},
		{Path: "contacts", Version: "v1."},
		{Path: "contacts", Method: "TRACE"},
		{Path: "contacts", Method: "get"},
		{Path: "contacts", Body: json.RawMessage(`{`)},
		{Path: "contacts", Organization: "654321/../123456"},
		{Path: "contacts", Organization: ".."},
	} {
		if r.Organization == "" {
			r.Organization = org
		}
		if r.Method == "" {
			r.Method = "POST"
		}
		_, err := f.client.Call(t.Context(), r)
		if e := wantKind(t, err, clients.Invalid); !e.NotSent {
			t.Errorf("%+v: NotSent is false", r)
		}
	}
	if len(f.Requests("")) != 0 {
		t.Errorf("%d requests", len(f.Requests("")))
	}
	f.breaker.Expect(t)
}

func TestOrganizationWithoutAKey(t *testing.T) {
	t.Parallel()
	f := start(t, options())
	_, err := f.client.CreateInvoice(
		t.Context(),
		dinero.CreateRequest{Organization: "999", Reference: "r", Body: map[string]any{"a": 1}},
	)
	if e := wantKind(t, err, clients.Blocked); !e.NotSent {
		t.Error("NotSent is false, so waiting for another worker would cost an attempt")
	}
}

func TestTokenIsReplayedOnce(t *testing.T) {
	t.Parallel()
	f := start(t, options())
	f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Status: 401, Times: 1})
	made, err := f.client.CreateInvoice(t.Context(), invoice())
	if err != nil || made.GUID == "" || f.source.rejected != 1 || f.Effects(dinerotest.OpInvoiceCreate) != 1 {
		t.Errorf("%+v, %v, %d rejected", made, err, f.source.rejected)
	}
	if got := f.Requests("")[1].Header.Get("Authorization"); got != "Bearer "+newToken {
		t.Error("the replay carries the old token")
	}
	f.breaker.Expect(t, admission.Accepted)

	f = start(t, options())
	f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Status: 401})
	_, err = f.client.CreateInvoice(t.Context(), invoice())
	if wantKind(t, err, clients.Credentials); f.Calls(dinerotest.OpInvoiceCreate) != 2 || f.source.rejected != 2 {
		t.Errorf("%d calls, %d rejected", f.Calls(dinerotest.OpInvoiceCreate), f.source.rejected)
	}
	f.breaker.Expect(t, admission.Inconclusive)
}

// A missing subscription and an exhausted quota stop one organization only.
func TestOrganizationsAreIndependent(t *testing.T) {
	t.Parallel()
	f := start(t, options())
	f.SetSubscription(org, false)
	_, err := f.client.CreateInvoice(t.Context(), invoice())
	if e := wantKind(t, err, clients.Credentials); e.Code != "90" {
		t.Errorf("code %q", e.Code)
	}
	f.breaker.Expect(t, admission.Refused)
	other := invoice()
	other.Organization = otherOrg
	if _, err := f.client.CreateInvoice(t.Context(), other); err != nil {
		t.Error(err)
	}

	o := options()
	o.Quota = 2
	f = start(t, o)
	for i := range 3 {
		_, err = f.client.CreateInvoice(t.Context(), invoice())
		if i < 2 && err != nil {
			t.Fatal(err)
		}
	}
	if e := wantKind(t, err, clients.Blocked); e.RetryAfter != time.Minute ||
		f.Effects(dinerotest.OpInvoiceCreate) != 2 {
		t.Errorf("%+v", *e)
	}
	if _, err := f.client.CreateInvoice(t.Context(), other); err != nil {
		t.Error(err)
	}
}

func TestOpenBreakerBlocksCalls(t *testing.T) {
	t.Parallel()
	for _, refusal := range clientstest.Refusals() {
		for _, o := range operations {
			f := start(t, options())
			f.breaker.Err = refusal.Err
			if e := refusal.Check(t, o.run(t.Context(), f.client)); e.Op != o.name || len(f.Requests("")) != 0 {
				t.Errorf("%s %s: %+v", o.name, refusal.Name, *e)
			}
			if f.source.gets != 0 {
				t.Error("a token was fetched although the breaker is open")
			}
		}
	}
	f := start(t, options())
	f.source.err = &admission.Blocked{Refused: true, Key: "dinero-123456", RetryAfter: time.Second}
	_, err := f.client.CreateInvoice(t.Context(), invoice())
	if e := wantKind(t, err, clients.Blocked); !e.NotSent {
		t.Error("NotSent is false although there is no token")
	}
	f.breaker.Expect(t, admission.Inconclusive)
}

// A 403 that refuses only the organization's subscription is settled as well as one that
// refuses the account.
func TestEvery403IsSettled(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"90", "41", ""} {
		sb := newSandbox(options())
		account := &admissiontest.Admitter{}
		client, err := dinero.New(
			config(clientstest.Serve(t, sb, dinerotest.Mount)),
			func(string) (dinero.Account, bool) {
				return dinero.Account{Source: &source{}, Breaker: &clientstest.Gate{}, Admitter: account}, true
			},
			clients.NewCaller(dinero.Vendor, clients.Timeouts{}, nil, nil),
		)
		if err != nil {
			t.Fatal(err)
		}
		sb.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Status: 403, Body: new(withCode(code))})
		_, err = client.CreateInvoice(t.Context(), invoice())
		wantKind(t, err, clients.Credentials)
		account.ExpectConcluded(t, 1)
	}
}
