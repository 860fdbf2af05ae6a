package danaconnect_test

import (
	"context"
	"sync"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// openGate lets everybody in and keeps the verdicts.
type openGate struct {
	err error // refuses, if set

	mu       sync.Mutex
	verdicts []tokens.Verdict
	entered  int
}

func (g *openGate) Enter(ctx context.Context) (tokens.Pass, error) {
	if g.err != nil {
		return nil, g.err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entered++
	return g, nil
}

func (g *openGate) Report(_ context.Context, v tokens.Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verdicts = append(g.verdicts, v)
}

// expect checks that exactly these verdicts were reported, one per entry.
func (g *openGate) expect(t *testing.T, want ...tokens.Verdict) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verdicts) != len(want) || g.entered != len(want) {
		t.Fatalf("%d entries, verdicts %v, want %v", g.entered, g.verdicts, want)
	}
	for i := range want {
		if g.verdicts[i] != want[i] {
			t.Errorf("verdict %d is %v, want %v", i, g.verdicts[i], want[i])
		}
	}
}

func config(baseURL string) danaconnect.OTPConfig {
	return danaconnect.OTPConfig{
		Username: danaconnecttest.Username,
		Company:  danaconnecttest.Company,
		Password: secret.New(danaconnecttest.Password),
		OTPURL:   baseURL + "otp/1.0/",
	}
}

func newClient(t *testing.T, cfg danaconnect.OTPConfig, gate tokens.Gate, limits clients.Limits) *danaconnect.OTPClient {
	t.Helper()
	c, err := danaconnect.NewOTP(cfg, gate, clients.NewCaller(danaconnect.Vendor, limits, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fixture is a client beside its sandbox.
type fixture struct {
	*danaconnecttest.Sandbox
	client *danaconnect.OTPClient
	gate   *openGate
}

func start(t *testing.T, opts danaconnecttest.Options) fixture {
	t.Helper()
	f := fixture{Sandbox: danaconnecttest.New(opts), gate: &openGate{}}
	f.client = newClient(t, config(clientstest.Serve(t, f.Sandbox, danaconnecttest.Mount)), f.gate, clients.Limits{})
	return f
}

// code is the send of the vendor's page.
func code() danaconnect.OTP {
	return danaconnect.OTP{
		IDConversation: danaconnecttest.Conversation,
		Values: []danaconnect.Value{
			{Key: "COD1_EMAIL", Value: "test@danaconnect.com"},
			{Key: "COD1_NOMBRE", Value: "Test DANAConnect"},
		},
		Type: 1, Length: 12, SecondsExpiration: 3000, MaximumTries: 5,
	}
}

// call makes one call of either operation and returns what it says of a code.
func (f fixture) call(ctx context.Context, op string) (danaconnect.Verdict, error) {
	if op == danaconnect.OpSend {
		_, err := f.client.SendOTP(ctx, code())
		return danaconnect.None, err
	}
	v, err := f.client.VerifyOTP(ctx, danaconnect.Verification{IDRequest: "251", OTP: secret.New("Rf24sG")})
	return v.Verdict, err
}

func sandboxOp(op string) string {
	if op == danaconnect.OpSend {
		return danaconnecttest.OpSend
	}
	return danaconnecttest.OpVerify
}

func fault(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	e, ok := clients.AsError(err)
	if !ok || e.Kind != want {
		t.Fatalf("error %v (%T), want a *clients.Error of kind %v", err, err, want)
	}
	return e
}
