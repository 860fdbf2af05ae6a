package api_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/api"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// The tokens and the contact of these tests, which no error may show.
const (
	oldToken = "canary-token-1"
	newToken = "canary-token-2"
	mail     = "canary-mail@example.com"
)

var canaries = []string{
	oldToken,
	newToken,
	mail,
	danaconnecttest.ClientID,
	danaconnecttest.ClientSecret,
}

// twoTokens returns the old token until it is rejected, then the new one.
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
	panic("API 2.0 answers 401 for an expired token: none is suspected")
}

func config(baseURL string) api.Config {
	return api.Config{
		ClientID:     danaconnecttest.ClientID,
		ClientSecret: secret.New(danaconnecttest.ClientSecret),
		TokenURL:     baseURL + "oauth2/token",
		APIURL:       baseURL + "api/2.0/",
	}
}

// newSandbox returns a sandbox that accepts both tokens.
func newSandbox(o danaconnecttest.Options) *danaconnecttest.Sandbox {
	sb := danaconnecttest.New(o)
	sb.PutToken(oldToken)
	sb.PutToken(newToken)
	return sb
}

func newClient(t *testing.T, cfg api.Config, src tokens.Source, timeouts clients.Timeouts) *api.Client {
	t.Helper()
	c, err := api.New(cfg, src, clients.NewCaller(danaconnect.Vendor, timeouts, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newLogin(t *testing.T, cfg api.Config, timeouts clients.Timeouts) *api.Login {
	t.Helper()
	l, err := api.NewLogin(cfg, clients.NewCaller(danaconnect.Vendor, timeouts, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func exampleStart() api.Start {
	return api.Start{
		IDConversation: fmt.Sprint(danaconnecttest.Conversation),
		Data:           map[string]any{"COD1_EMAIL": mail, "COD1_NOMBRE": "Ana"},
	}
}

// operation is one operation, without its result.
type operation struct {
	name, sandboxOp string
	call            func(context.Context, *api.Client) error
}

var operations = []operation{
	{
		name:      api.OpStart,
		sandboxOp: danaconnecttest.OpStart,
		call: func(ctx context.Context, c *api.Client) error {
			_, err := c.StartConversation(ctx, exampleStart())
			return err
		},
	},
	{
		name:      api.OpCall,
		sandboxOp: danaconnecttest.OpCall,
		call: func(ctx context.Context, c *api.Client) error {
			_, err := c.Call(ctx, api.Request{
				Method: http.MethodPost,
				Path:   "records",
				Body:   []byte(`{"mail":"` + mail + `"}`),
			})
			return err
		},
	},
}

func fault(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	return clientstest.Fault(t, err, want, canaries...)
}
