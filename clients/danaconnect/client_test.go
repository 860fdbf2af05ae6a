package danaconnect_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

func TestSharedRules(t *testing.T) {
	t.Parallel()
	canaries := []string{danaconnecttest.Password, danaconnecttest.Username, "test@danaconnect.com", "Test DANAConnect"}
	newSandbox := func(*testing.T) clientstest.Sandbox { return danaconnecttest.New(danaconnecttest.Options{}) }
	t.Run("send", func(t *testing.T) {
		t.Parallel()
		clientstest.Check(t, clientstest.Subject{
			Op:       danaconnecttest.OpSend,
			Mount:    danaconnecttest.Mount,
			Canaries: canaries,
			New:      newSandbox,
			Call: func(t *testing.T, baseURL string, limits clients.Limits) func(context.Context) error {
				c := newClient(t, config(baseURL), &clientstest.Gate{}, limits)
				return func(ctx context.Context) error { _, err := c.SendOTP(ctx, code()); return err }
			},
		})
	})
	t.Run("verify", func(t *testing.T) {
		t.Parallel()
		// The sandbox must know the code before it is verified, so that each client
		// gets its own one when it is made.
		clientstest.Check(t, clientstest.Subject{
			Op:       danaconnecttest.OpVerify,
			Mount:    danaconnecttest.Mount,
			Canaries: append(canaries, "Rf24sG"),
			New: func(*testing.T) clientstest.Sandbox {
				sb := danaconnecttest.New(danaconnecttest.Options{})
				sb.Add(danaconnecttest.OTP{
					IDRequest:    251,
					Code:         "Rf24sG",
					MaximumTries: 5,
					ExpiresAt:    time.Now().Add(time.Hour),
				})
				return sb
			},
			Call: func(t *testing.T, baseURL string, limits clients.Limits) func(context.Context) error {
				c := newClient(t, config(baseURL), &clientstest.Gate{}, limits)
				return func(ctx context.Context) error {
					_, err := c.VerifyOTP(ctx, danaconnect.Verification{IDRequest: "251", OTP: secret.New("Rf24sG")})
					return err
				}
			},
		})
	})
}

func TestSendAndVerify(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	sent, err := f.client.SendOTP(t.Context(), code())
	if err != nil {
		t.Fatal(err)
	}
	kept, ok := f.Lookup(sent.IDRequest)
	if !ok || sent.ConversationRequestID != kept.ConversationRequestID || len(kept.Code) != 12 ||
		f.EffectsOf(danaconnecttest.OpSend, "test@danaconnect.com") != 1 {
		t.Fatalf("sent %+v, the vendor keeps %+v", sent, kept)
	}
	wrong, err := f.client.VerifyOTP(
		t.Context(),
		danaconnect.Verification{IDRequest: sent.IDRequest, OTP: secret.New("wrong")},
	)
	if fault(t, err, clients.Declined); wrong.Verdict != danaconnect.Incorrect {
		t.Errorf("verdict %q of a wrong code", wrong.Verdict)
	}
	right, err := f.client.VerifyOTP(
		t.Context(),
		danaconnect.Verification{IDRequest: sent.IDRequest, OTP: secret.New(kept.Code)},
	)
	if err != nil || right.Verdict != danaconnect.Correct {
		t.Errorf("verdict %q of the right code, %v", right.Verdict, err)
	}
	f.gate.Expect(t, tokens.Accepted, tokens.Accepted, tokens.Accepted)
}

func TestRequestsAreAsThePageShows(t *testing.T) {
	t.Parallel()
	short := danaconnect.OTP{
		IDConversation:    1,
		Values:            []danaconnect.Value{{Key: "COD1_NOMBRE", Value: `Tom & Zoë <tz> "x"`}},
		Type:              2,
		Length:            6,
		SecondsExpiration: 300,
	}
	verify := func(id, otp string) func(context.Context, *danaconnect.OTPClient) error {
		return func(ctx context.Context, c *danaconnect.OTPClient) error {
			_, err := c.VerifyOTP(ctx, danaconnect.Verification{IDRequest: id, OTP: secret.New(otp)})
			return err
		}
	}
	send := func(m danaconnect.OTP) func(context.Context, *danaconnect.OTPClient) error {
		return func(ctx context.Context, c *danaconnect.OTPClient) error { _, err := c.SendOTP(ctx, m); return err }
	}
	tests := []struct {
		name, path, op string
		call           func(context.Context, *danaconnect.OTPClient) error
	}{
		{"send", "send", danaconnecttest.OpSend, send(code())},
		{"send-without-tries", "send", danaconnecttest.OpSend, send(short)},
		{"verify", "verify", danaconnecttest.OpVerify, verify("251", "Rf24sG")},
		{"verify-digits", "verify", danaconnecttest.OpVerify, verify("9223372036854775807", "004217")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			_ = tt.call(t.Context(), f.client) // the answer does not matter here
			got := f.Requests("")
			if len(got) != 1 {
				t.Fatalf("%d requests, want 1", len(got))
			}
			r := got[0]
			if r.Method != http.MethodPost || r.URI != "/danaconnect/otp/1.0/"+tt.path || r.Op != tt.op {
				t.Errorf("%s %s, want POST of %s", r.Method, r.URI, tt.path)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json",
				"Accept":       "application/json",
				// jperez@loremipsumcompany:sandbox-password
				"Authorization":   "Basic anBlcmV6QGxvcmVtaXBzdW1jb21wYW55OnNhbmRib3gtcGFzc3dvcmQ=",
				"Idempotency-Key": "", // with one, net/http would repeat a POST by itself
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
			clientstest.Golden(t, "testdata/"+tt.name+"-request.json", r.Body)
		})
	}
}

func TestAnswersOfThePage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"send", "send-other-types"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(
				sandbox.Fault{
					Op:   danaconnecttest.OpSend,
					Body: new(string(clientstest.ReadFile(t, "testdata/"+name+".json"))),
				},
			)
			sent, err := f.client.SendOTP(t.Context(), code())
			if err != nil || sent.IDRequest != "251" || !strings.HasPrefix(sent.ConversationRequestID, "87") {
				t.Errorf("%+v, %v", sent, err)
			}
		})
	}
	for _, name := range []string{"verify", "verify-by-the-field-table"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(
				sandbox.Fault{
					Op:   danaconnecttest.OpVerify,
					Body: new(string(clientstest.ReadFile(t, "testdata/"+name+".json"))),
				},
			)
			if verdict, err := f.call(t.Context(), danaconnect.OpVerify); err != nil || verdict != danaconnect.Correct {
				t.Errorf("%q, %v", verdict, err)
			}
		})
	}
	t.Run("send-refused-login", func(t *testing.T) {
		t.Parallel()
		f := start(t, danaconnecttest.Options{})
		f.Inject(
			sandbox.Fault{
				Op:   danaconnecttest.OpSend,
				Body: new(string(clientstest.ReadFile(t, "testdata/send-refused-login.json"))),
			},
		)
		_, err := f.call(t.Context(), danaconnect.OpSend)
		if e := fault(t, err, clients.Credentials); e.Code != "06" || e.Status != http.StatusOK {
			t.Errorf("%+v", *e)
		}
		f.gate.Expect(t, tokens.Refused)
	})
}

func TestGateKeepsCallsIn(t *testing.T) {
	t.Parallel()
	for _, op := range []string{danaconnect.OpSend, danaconnect.OpVerify} {
		for _, refusal := range clientstest.Refusals() {
			t.Run(op+" "+refusal.Name, func(t *testing.T) {
				t.Parallel()
				f := start(t, danaconnecttest.Options{})
				f.gate.Err = refusal.Err
				_, err := f.call(t.Context(), op)
				if e := refusal.Check(t, err); e.Op != op || f.Calls(sandboxOp(op)) != 0 {
					t.Errorf("%+v, %d calls", *e, f.Calls(sandboxOp(op)))
				}
				f.gate.Expect(t)
			})
		}
	}
}

func TestNoAnswerIsNoVerdict(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	f.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Drop: true})
	_, err := f.call(t.Context(), danaconnect.OpSend)
	fault(t, err, clients.Unknown)
	f.gate.Expect(t, tokens.Inconclusive)
}

func TestPanicInTheTransportStillReports(t *testing.T) {
	t.Parallel()
	gate := &clientstest.Gate{}
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Limits{},
		transport(func(*http.Request) (*http.Response, error) { panic("boom") }),
		nil,
	)
	c, err := danaconnect.NewOTP(config("https://danaconnect.example/"), gate, caller)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = c.SendOTP(t.Context(), code())
	}()
	gate.Expect(t, tokens.Inconclusive)
}

func TestUnusableIDRequestIsRefusedBeforeTheCall(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	for _, id := range []string{"", "0", "0251", "-1", "2.5", "1e3", "87a9ab9b-5abf-4802-abfa-e7b891d2a042", " 251", "251}", strings.Repeat("9", 20)} {
		_, err := f.client.VerifyOTP(t.Context(), danaconnect.Verification{IDRequest: id, OTP: secret.New("1")})
		if e := fault(t, err, clients.Invalid); !e.NotSent {
			t.Errorf("%q: NotSent is false", id)
		}
	}
	if n := f.Calls(danaconnecttest.OpVerify); n != 0 {
		t.Errorf("%d calls", n)
	}
	f.gate.Expect(t)
}

// A dry run puts its own transport into the Caller and sees the very request of
// production.
func TestDryRunBuildsTheRequestOfProduction(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	if _, err := f.call(t.Context(), danaconnect.OpSend); err != nil {
		t.Fatal(err)
	}
	real := f.Requests(danaconnecttest.OpSend)[0]

	var method, path, auth string
	var body []byte
	captured := errors.New("captured")
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Limits{},
		transport(func(r *http.Request) (*http.Response, error) {
			method = r.Method
			path = r.URL.Path
			auth = r.Header.Get("Authorization")
			body, _ = io.ReadAll(r.Body)
			return nil, captured
		}),
		nil,
	)
	c, err := danaconnect.NewOTP(config("https://danaconnect.example/danaconnect/"), &clientstest.Gate{}, caller)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.SendOTP(t.Context(), code())
	if e := fault(t, err, clients.Temporary); !e.NotSent {
		t.Error("a dry run counts as sent")
	}
	if method != real.Method || path != real.URI || auth != real.Header.Get("Authorization") ||
		string(body) != string(real.Body) {
		t.Errorf("dry run %s %s %s, production %s %s %s", method, path, body, real.Method, real.URI, real.Body)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
