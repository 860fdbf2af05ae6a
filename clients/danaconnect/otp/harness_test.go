package otp_test

import (
	"context"
	"testing"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/secret"
)

func config(baseURL string) danaconnect.BasicConfig {
	return danaconnect.BasicConfig{
		Username: danaconnecttest.Username,
		Company:  danaconnecttest.Company,
		Password: secret.New(danaconnecttest.Password),
		OTPURL:   baseURL + "otp/1.0/",
	}
}

func newClient(t *testing.T, cfg danaconnect.BasicConfig, gate admission.Gate, timeouts clients.Timeouts) *otp.Client {
	t.Helper()
	c, err := otp.New(cfg, gate, clients.NewCaller(danaconnect.Vendor, timeouts, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fixture is a client and its sandbox.
type fixture struct {
	*danaconnecttest.Sandbox
	client *otp.Client
	gate   *clientstest.Gate
}

func start(t *testing.T, opts danaconnecttest.Options) fixture {
	t.Helper()
	f := fixture{Sandbox: danaconnecttest.New(opts), gate: &clientstest.Gate{}}
	f.client = newClient(t, config(clientstest.Serve(t, f.Sandbox, danaconnecttest.Mount)), f.gate, clients.Timeouts{})
	return f
}

// message is the send of the vendor's page.
func message() otp.Message {
	return otp.Message{
		IDConversation: danaconnecttest.Conversation,
		Values: otp.Values{
			{Key: "COD1_EMAIL", Value: "test@danaconnect.com"},
			{Key: "COD1_NOMBRE", Value: "Test DANAConnect"},
		},
		OTPType:           1,
		Length:            12,
		SecondsExpiration: new(3000),
		MaximumTries:      new(5),
	}
}

// call makes one call of either operation and returns its verdict.
func (f fixture) call(ctx context.Context, op string) (otp.Verdict, error) {
	if op == otp.OpSend {
		_, err := f.client.Send(ctx, message())
		return otp.None, err
	}
	v, err := f.client.Verify(ctx, otp.Verification{IDRequest: "251", OTP: secret.New("Rf24sG")})
	return v.Verdict, err
}

func sandboxOp(op string) string {
	if op == otp.OpSend {
		return danaconnecttest.OpSend
	}
	return danaconnecttest.OpVerify
}

// canaries returns the secrets and personal data of these calls, which no error
// may show.
func canaries() []string {
	return []string{
		danaconnecttest.Password,
		danaconnecttest.Username,
		"test@danaconnect.com",
		"Test DANAConnect",
	}
}

func fault(t *testing.T, err error, want clients.Kind) *clients.Error {
	t.Helper()
	return clientstest.Fault(t, err, want, canaries()...)
}
