package danaconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// The tokens, the contact and the rows of these tests: values that no error may
// show.
const (
	oldToken = "canary-token-1"
	newToken = "canary-token-2"
	mail     = "canary-mail@example.com"
)

var apiCanaries = []string{
	oldToken,
	newToken,
	mail,
	danaconnecttest.ClientID,
	danaconnecttest.ClientSecret,
	danaconnecttest.Password,
}

// twoTokens gives the old token until it is rejected, then the new one.
type twoTokens struct {
	replay bool

	mu       sync.Mutex
	rejected []string
}

func (s *twoTokens) Get(context.Context) (tokens.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rejected) > 0 {
		return tokens.Token{Value: secret.New(newToken), Gen: 2}, nil
	}
	return tokens.Token{Value: secret.New(oldToken), Gen: 1}, nil
}

func (s *twoTokens) Reject(_ context.Context, t tokens.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = append(s.rejected, t.Value.Reveal())
	return s.replay
}

func (s *twoTokens) Suspect(context.Context, tokens.Token) bool {
	panic("API 2.0 knows 401: nothing is to be suspected")
}

func apiConfig(baseURL string) danaconnect.APIConfig {
	return danaconnect.APIConfig{
		ClientID:     danaconnecttest.ClientID,
		ClientSecret: secret.New(danaconnecttest.ClientSecret),
		TokenURL:     baseURL + "oauth2/token",
		APIURL:       baseURL + "api/2.0/",
	}
}

// apiSandbox knows both tokens.
func apiSandbox(o danaconnecttest.Options) *danaconnecttest.Sandbox {
	sb := danaconnecttest.New(o)
	sb.PutToken(oldToken)
	sb.PutToken(newToken)
	return sb
}

func newAPI(t *testing.T, cfg danaconnect.APIConfig, src tokens.Source, limits clients.Timeouts) *danaconnect.APIClient {
	t.Helper()
	c, err := danaconnect.NewAPI(cfg, src, clients.NewCaller(danaconnect.Vendor, limits, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newContacts(t *testing.T, baseURL string, gate tokens.Gate, limits clients.Timeouts) *danaconnect.ContactsClient {
	t.Helper()
	cfg := config(baseURL)
	cfg.ContactsURL = baseURL + "api/contacts/"
	c, err := danaconnect.NewContacts(cfg, gate, clients.NewCaller(danaconnect.Vendor, limits, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newAPILogin(t *testing.T, cfg danaconnect.APIConfig, limits clients.Timeouts) *danaconnect.APILogin {
	t.Helper()
	l, err := danaconnect.NewAPILogin(cfg, clients.NewCaller(danaconnect.Vendor, limits, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func someStart() danaconnect.Start {
	return danaconnect.Start{
		IDConversation: fmt.Sprint(danaconnecttest.Conversation),
		Data:           map[string]any{"COD1_EMAIL": mail, "COD1_NOMBRE": "Ana"},
	}
}

func someLoad() danaconnect.Load {
	return danaconnect.Load{
		TableCode:  danaconnecttest.TableCode,
		FieldsCode: []string{"EMAIL", "NAME"},
		Rows:       [][]string{{mail, "Ana"}},
	}
}

// apiOp is one operation, without its result.
type apiOp struct {
	op, sandboxOp string
	run           func(ctx context.Context, api *danaconnect.APIClient, contacts *danaconnect.ContactsClient) (danaconnect.Answer, error)
}

var (
	startOp = apiOp{
		danaconnect.OpStart,
		danaconnecttest.OpStart,
		func(ctx context.Context, api *danaconnect.APIClient, _ *danaconnect.ContactsClient) (danaconnect.Answer, error) {
			return api.StartConversation(ctx, someStart())
		},
	}
	callOp = apiOp{
		danaconnect.OpCall,
		danaconnecttest.OpCall,
		func(ctx context.Context, api *danaconnect.APIClient, _ *danaconnect.ContactsClient) (danaconnect.Answer, error) {
			return api.Call(
				ctx,
				danaconnect.Request{Method: http.MethodPost, Path: "records", Body: []byte(`{"mail":"` + mail + `"}`)},
			)
		},
	}
	loadOp = apiOp{
		danaconnect.OpLoad,
		danaconnecttest.OpLoad,
		func(ctx context.Context, _ *danaconnect.APIClient, contacts *danaconnect.ContactsClient) (danaconnect.Answer, error) {
			return contacts.LoadContacts(ctx, someLoad())
		},
	}
	apiOps = []apiOp{startOp, callOp, loadOp}
)

// against makes the operation's clients for a sandbox at base and returns one
// call of it.
func (o apiOp) against(
	t *testing.T,
	base string,
	src tokens.Source,
	gate tokens.Gate,
	limits clients.Timeouts,
) func(context.Context) (danaconnect.Answer, error) {
	t.Helper()
	api, contacts := newAPI(t, apiConfig(base), src, limits), newContacts(t, base, gate, limits)
	return func(ctx context.Context) (danaconnect.Answer, error) { return o.run(ctx, api, contacts) }
}

// answered makes one call that is answered with status and body.
func (o apiOp) answered(t *testing.T, status int, body string) (danaconnect.Answer, *clientstest.Gate, error) {
	t.Helper()
	gate := &clientstest.Gate{}
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Timeouts{},
		clientstest.Canned{Status: status, Body: body},
		nil,
	)
	api, err := danaconnect.NewAPI(apiConfig("https://danaconnect.example/"), &twoTokens{}, caller)
	if err != nil {
		t.Fatal(err)
	}
	contacts, err := danaconnect.NewContacts(config("https://danaconnect.example/"), gate, caller)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := o.run(t.Context(), api, contacts)
	if err != nil {
		clientstest.NoLeak(t, err, apiCanaries...)
	}
	return answer, gate, err
}
