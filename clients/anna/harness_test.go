package anna_test

import (
	"context"
	"sync"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// The account and the user of these tests. No error may contain these values.
const (
	mount    = "/anna/"
	company  = "canary-company-71"
	login    = "canary-login-72"
	password = "canary-password-73"
	userID   = "canary-user-74"
	oldToken = "canary-token-75"
	newToken = "canary-token-76"
	docValue = "canary-document-77"
	userName = "canary-name-79"
)

var canaries = []string{company, login, password, userID, oldToken, newToken, docValue, userName}

func config(baseURL string) anna.Config {
	return anna.Config{
		URL:         baseURL,
		CompanyHash: secret.New(company),
		User:        login,
		Password:    secret.New(password),
	}
}

// newSandbox returns a sandbox with the active user and both tokens.
func newSandbox(o annatest.Options) *annatest.Sandbox {
	o.CompanyHash = company
	o.User = login
	o.Password = password
	sb := annatest.New(o)
	sb.PutUser(userID, true)
	sb.PutToken(oldToken)
	sb.PutToken(newToken)
	return sb
}

// source is a tokens.Source under the control of the test.
type source struct {
	replay bool    // result of Reject and Suspect
	errs   []error // results of Get, in order; nil after the last

	mu        sync.Mutex
	gets      int
	rejected  []string
	suspected []string
}

func (s *source) Get(context.Context) (tokens.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if s.gets <= len(s.errs) && s.errs[s.gets-1] != nil {
		return tokens.Token{}, s.errs[s.gets-1]
	}
	if len(s.rejected)+len(s.suspected) > 0 {
		return tokens.Token{Value: secret.New(newToken), Gen: 2}, nil
	}
	return tokens.Token{Value: secret.New(oldToken), Gen: 1}, nil
}

func (s *source) Reject(_ context.Context, t tokens.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = append(s.rejected, t.Value.Reveal())
	return s.replay
}

func (s *source) Suspect(_ context.Context, t tokens.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspected = append(s.suspected, t.Value.Reveal())
	return s.replay
}

func newClient(t *testing.T, cfg anna.Config, src tokens.Source, timeouts clients.Timeouts) *anna.Client {
	t.Helper()
	c, err := anna.New(cfg, src, clients.NewCaller(anna.Vendor, timeouts, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// operation calls one of the client's methods and drops its result.
type operation struct {
	name string
	run  func(context.Context, *anna.Client) error
}

var user = anna.User{
	UserID:       userID,
	UserDocType:  "CPF",
	UserDocValue: docValue,
}

var operations = []operation{
	{annatest.OpHash, func(ctx context.Context, c *anna.Client) error {
		_, err := c.UserHash(ctx, userID, "support")
		return err
	}},
	{annatest.OpForceHash, func(ctx context.Context, c *anna.Client) error {
		_, err := c.UserHashForced(ctx, userID, userName, "support")
		return err
	}},
	{annatest.OpInactivate, func(ctx context.Context, c *anna.Client) error {
		return c.Inactivate(ctx, userID)
	}},
	{annatest.OpStructure, func(ctx context.Context, c *anna.Client) error {
		_, err := c.Structure(ctx)
		return err
	}},
	{annatest.OpAlerts, func(ctx context.Context, c *anna.Client) error {
		_, err := c.AlertCounter(ctx, user, anna.Filters{})
		return err
	}},
	{annatest.OpRequests, func(ctx context.Context, c *anna.Client) error {
		_, err := c.Requests(ctx, user, anna.Filters{})
		return err
	}},
	{annatest.OpLink, func(ctx context.Context, c *anna.Client) error {
		_, err := c.Link(ctx, user)
		return err
	}},
}

// callWithFaults runs the operation against a sandbox that answers with the
// faults, one after another.
func (o operation) callWithFaults(t *testing.T, src *source, faults ...sandbox.Fault) (*annatest.Sandbox, error) {
	t.Helper()
	sb := newSandbox(annatest.Options{})
	for _, f := range faults {
		f.Op = o.name
		f.Times = 1
		sb.Inject(f)
	}
	c := newClient(t, config(clientstest.Serve(t, sb, mount)), src, clients.Timeouts{})
	return sb, o.run(t.Context(), c)
}

// wantKind checks an error's kind and that it leaks nothing.
func wantKind(t *testing.T, err error, kind clients.Kind) *clients.Error {
	t.Helper()
	return clientstest.Fault(t, err, kind, canaries...)
}

// answerWith is a fault with status 200 and this body.
func answerWith(body string) sandbox.Fault {
	return sandbox.Fault{Body: new(body)}
}

// answerStatus is a fault with this status and body.
func answerStatus(status int, body string) sandbox.Fault {
	return sandbox.Fault{Status: status, Body: new(body)}
}
