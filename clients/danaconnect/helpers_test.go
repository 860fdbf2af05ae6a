package danaconnect_test

import (
	"context"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

func config(baseURL string) danaconnect.OTPConfig {
	return danaconnect.OTPConfig{
		Username: danaconnecttest.Username,
		Company:  danaconnecttest.Company,
		Password: secret.New(danaconnecttest.Password),
		OTPURL:   baseURL + "otp/1.0/",
	}
}

func newClient(
	t *testing.T,
	cfg danaconnect.OTPConfig,
	gate tokens.Gate,
	limits clients.Timeouts,
) *danaconnect.OTPClient {
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
	gate   *clientstest.Gate
}

func start(t *testing.T, opts danaconnecttest.Options) fixture {
	t.Helper()
	f := fixture{Sandbox: danaconnecttest.New(opts), gate: &clientstest.Gate{}}
	f.client = newClient(t, config(clientstest.Serve(t, f.Sandbox, danaconnecttest.Mount)), f.gate, clients.Timeouts{})
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
		Type:              1,
		Length:            12,
		SecondsExpiration: 3000,
		MaximumTries:      5,
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
	return clientstest.Fault(t, err, want, apiCanaries...)
}
