package dinero_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// canaries are values that must not appear in an error.
const (
	clientSecret = "canary-secret-71"
	apiKey       = "canary-key-72"
	otherKey     = "canary-key-73"
	oldToken     = "canary-token-74"
	newToken     = "canary-token-75"
	org          = "123456"
	otherOrg     = "654321"
)

var canaries = []string{clientSecret, apiKey, otherKey, oldToken, newToken, "canary-customer-76"}

func config(base string) dinero.Config {
	return dinero.Config{
		ClientID:     "rasmus",
		ClientSecret: secret.New(clientSecret),
		APIKeys:      secret.New(org + "=" + apiKey + "," + otherOrg + "=" + otherKey),
		TokenURL:     base + dinerotest.TokenPath,
		APIURL:       base,
	}
}

func options() dinerotest.Options {
	return dinerotest.Options{
		ClientID:     "rasmus",
		ClientSecret: clientSecret,
		APIKeys:      map[string]string{org: apiKey, otherOrg: otherKey},
	}
}

// newSandbox returns a sandbox that accepts the tokens of a source.
func newSandbox(o dinerotest.Options) *dinerotest.Sandbox {
	sb := dinerotest.New(o)
	sb.PutToken(oldToken, org)
	sb.PutToken(newToken, org)
	sb.PutToken("other-"+oldToken, otherOrg)
	return sb
}

// source is a tokens.Source that the test controls.
type source struct {
	prefix string
	replay bool // result of Reject
	err    error

	mu             sync.Mutex
	gets, rejected int
}

func (s *source) Get(context.Context) (tokens.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if s.err != nil {
		return tokens.Token{}, s.err
	}
	if s.rejected > 0 {
		return tokens.Token{Value: secret.New(s.prefix + newToken), Gen: 2}, nil
	}
	return tokens.Token{Value: secret.New(s.prefix + oldToken), Gen: 1}, nil
}

func (s *source) Reject(context.Context, tokens.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected++
	return s.replay
}

func (s *source) Suspect(context.Context, tokens.Token) bool { return false }

// fixture is a client with its sandbox.
type fixture struct {
	*dinerotest.Sandbox
	client  *dinero.Client
	source  *source
	breaker *clientstest.Gate // of org
}

func start(t *testing.T, o dinerotest.Options) *fixture {
	t.Helper()
	f := &fixture{Sandbox: newSandbox(o), source: &source{replay: true}, breaker: &clientstest.Gate{}}
	f.connect(t, clientstest.Serve(t, f.Sandbox, dinerotest.Mount), clients.Timeouts{})
	return f
}

func (f *fixture) connect(t *testing.T, base string, timeouts clients.Timeouts) {
	t.Helper()
	f.connectThrough(t, base, clients.NewCaller(dinero.Vendor, timeouts, nil, nil))
}

func (f *fixture) connectThrough(t *testing.T, base string, caller *clients.Caller) {
	t.Helper()
	var err error
	accounts := map[string]dinero.Account{
		org:      {Source: f.source, Breaker: f.breaker},
		otherOrg: {Source: &source{prefix: "other-"}, Breaker: &clientstest.Gate{}},
	}
	f.client, err = dinero.New(config(base), func(organization string) (dinero.Account, bool) {
		account, known := accounts[organization]
		return account, known
	}, caller)
	if err != nil {
		t.Fatal(err)
	}
}

// invoice returns the request for an invoice.
func invoice() dinero.CreateRequest {
	return dinero.CreateRequest{Organization: org, Reference: "dinero-task-1", Body: map[string]any{
		"ContactGuid":  "c1",
		"Date":         "2026-05-04",
		"Comment":      "Tom & <Zoë> canary-customer-76",
		"ProductLines": []any{map[string]any{"Quantity": json.Number("1.50"), "BaseAmountValue": json.Number("100")}},
	}}
}

// contact returns the request for a contact.
func contact() dinero.CreateRequest {
	return dinero.CreateRequest{
		Organization: org,
		Reference:    "dinero-task-2",
		Body:         map[string]any{"Name": "canary-customer-76", "IsPerson": true},
	}
}

// operation is one method of the client, without its result.
type operation struct {
	name, op string // the operation as the client and the sandbox name it
	run      func(context.Context, *dinero.Client) error
}

var operations = []operation{
	{dinero.OpInvoiceCreate, dinerotest.OpInvoiceCreate, func(ctx context.Context, c *dinero.Client) error {
		_, err := c.CreateInvoice(ctx, invoice())
		return err
	}},
	{dinero.OpContactCreate, dinerotest.OpContactCreate, func(ctx context.Context, c *dinero.Client) error {
		_, err := c.CreateContact(ctx, contact())
		return err
	}},
	{dinero.OpInvoiceFind, dinerotest.OpInvoiceFind, func(ctx context.Context, c *dinero.Client) error {
		_, _, err := c.ReconcileInvoice(ctx, org, "r")
		return err
	}},
	{dinero.OpContactFind, dinerotest.OpContactFind, func(ctx context.Context, c *dinero.Client) error {
		_, _, err := c.ReconcileContact(ctx, org, "r")
		return err
	}},
	{dinero.OpCall, dinerotest.OpContactFind, func(ctx context.Context, c *dinero.Client) error {
		_, err := c.Call(ctx, dinero.Request{Organization: org, Method: "GET", Path: "contacts"})
		return err
	}},
}

func wantKind(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	return clientstest.Fault(t, err, want, canaries...)
}
