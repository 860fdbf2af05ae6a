package otp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/admission/admissiontest"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
)

func TestSharedRules(t *testing.T) {
	t.Parallel()
	newSandbox := func(*testing.T) clientstest.Sandbox { return danaconnecttest.New(danaconnecttest.Options{}) }
	t.Run("send", func(t *testing.T) {
		t.Parallel()
		clientstest.Check(t, clientstest.Subject{
			Op:       danaconnecttest.OpSend,
			Mount:    danaconnecttest.Mount,
			Canaries: canaries(),
			New:      newSandbox,
			Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
				c := newClient(t, config(baseURL), &clientstest.Gate{}, timeouts)
				return func(ctx context.Context) error { _, err := c.Send(ctx, message()); return err }
			},
		})
	})
	t.Run("verify", func(t *testing.T) {
		t.Parallel()
		// Each sandbox gets its own code, because a code is used up by its verification.
		clientstest.Check(t, clientstest.Subject{
			Op:       danaconnecttest.OpVerify,
			Mount:    danaconnecttest.Mount,
			Canaries: append(canaries(), "Rf24sG"),
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
			Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
				c := newClient(t, config(baseURL), &clientstest.Gate{}, timeouts)
				return func(ctx context.Context) error {
					_, err := c.Verify(ctx, otp.Verification{IDRequest: "251", OTP: secret.New("Rf24sG")})
					return err
				}
			},
		})
	})
}

func TestSendAndVerify(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	sent, err := f.client.Send(t.Context(), message())
	if err != nil {
		t.Fatal(err)
	}
	stored, ok := f.Lookup(sent.IDRequest)
	if !ok || sent.ConversationRequestID != stored.ConversationRequestID || len(stored.Code) != 12 ||
		f.EffectsOf(danaconnecttest.OpSend, "test@danaconnect.com") != 1 {
		t.Fatalf("sent %+v, the vendor has %+v", sent, stored)
	}
	wrong, err := f.client.Verify(
		t.Context(),
		otp.Verification{IDRequest: sent.IDRequest, OTP: secret.New("wrong")},
	)
	if fault(t, err, clients.Declined); wrong.Verdict != otp.Incorrect {
		t.Errorf("verdict %q of a wrong code", wrong.Verdict)
	}
	right, err := f.client.Verify(
		t.Context(),
		otp.Verification{IDRequest: sent.IDRequest, OTP: secret.New(stored.Code)},
	)
	if err != nil || right.Verdict != otp.Correct {
		t.Errorf("verdict %q of the right code, %v", right.Verdict, err)
	}
	f.gate.Expect(t, admission.Accepted, admission.Accepted, admission.Accepted)
}

func TestRequests(t *testing.T) {
	t.Parallel()
	withDefaults := otp.Message{
		IDConversation: 1,
		Values:         otp.Values{{Key: "COD1_NOMBRE", Value: `Tom & Zoë <tz> "x"`}},
		OTPType:        2,
		Length:         6,
	}
	verify := func(id, typed string) func(context.Context, *otp.Client) error {
		return func(ctx context.Context, c *otp.Client) error {
			_, err := c.Verify(ctx, otp.Verification{IDRequest: id, OTP: secret.New(typed)})
			return err
		}
	}
	send := func(m otp.Message) func(context.Context, *otp.Client) error {
		return func(ctx context.Context, c *otp.Client) error { _, err := c.Send(ctx, m); return err }
	}
	tests := []struct {
		name, path, op string
		call           func(context.Context, *otp.Client) error
	}{
		{"send", "send", danaconnecttest.OpSend, send(message())},
		{"send-without-tries", "send", danaconnecttest.OpSend, send(withDefaults)},
		{"verify", "verify", danaconnecttest.OpVerify, verify("251", "Rf24sG")},
		{"verify-digits", "verify", danaconnecttest.OpVerify, verify("9223372036854775807", "004217")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			_ = tt.call(t.Context(), f.client) // only the request matters
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
				"Idempotency-Key": "", // with one, net/http would retry a POST
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("header %s is %q, want %q", name, got, want)
				}
			}
			clientstest.Golden(t, "testdata/"+tt.name+"-request.json", r.Body)
		})
	}
}

func TestDocumentedAnswers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"send", "send-other-types"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(sandbox.Fault{
				Op:   danaconnecttest.OpSend,
				Body: new(string(clientstest.ReadFile(t, "testdata/"+name+".json"))),
			})
			sent, err := f.client.Send(t.Context(), message())
			if err != nil || sent.IDRequest != "251" || !strings.HasPrefix(sent.ConversationRequestID, "87") {
				t.Errorf("%+v, %v", sent, err)
			}
		})
	}
	for _, name := range []string{"verify", "verify-by-the-field-table"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, danaconnecttest.Options{})
			f.Inject(sandbox.Fault{
				Op:   danaconnecttest.OpVerify,
				Body: new(string(clientstest.ReadFile(t, "testdata/"+name+".json"))),
			})
			if verdict, err := f.call(t.Context(), otp.OpVerify); err != nil || verdict != otp.Correct {
				t.Errorf("%q, %v", verdict, err)
			}
		})
	}
	t.Run("send-refused-login", func(t *testing.T) {
		t.Parallel()
		f := start(t, danaconnecttest.Options{})
		f.Inject(sandbox.Fault{
			Op:   danaconnecttest.OpSend,
			Body: new(string(clientstest.ReadFile(t, "testdata/send-refused-login.json"))),
		})
		_, err := f.call(t.Context(), otp.OpSend)
		if e := fault(t, err, clients.Credentials); e.Code != "06" || e.Status != http.StatusOK {
			t.Errorf("%+v", *e)
		}
		f.gate.Expect(t, admission.Refused)
	})
}

func TestNoCallWhileTheGateRefuses(t *testing.T) {
	t.Parallel()
	for _, op := range []string{otp.OpSend, otp.OpVerify} {
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

func TestLostAnswerProvesNothingAboutTheLogin(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	f.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Drop: true})
	_, err := f.call(t.Context(), otp.OpSend)
	fault(t, err, clients.Unknown)
	f.gate.Expect(t, admission.Inconclusive)
}

func TestGateGetsAReportAfterAPanic(t *testing.T) {
	t.Parallel()
	gate := &clientstest.Gate{}
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Timeouts{},
		transport(func(*http.Request) (*http.Response, error) { panic("boom") }),
		nil,
	)
	c, err := otp.New(config("https://danaconnect.example/"), gate, caller)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = c.Send(t.Context(), message())
	}()
	gate.Expect(t, admission.Inconclusive)
}

func TestInvalidIDRequestIsNotSent(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	for _, id := range []string{
		"",
		"0",
		"0251",
		"-1",
		"2.5",
		"1e3",
		"87a9ab9b-5abf-4802-abfa-e7b891d2a042",
		" 251",
		"251}",
		strings.Repeat("9", 20),
	} {
		_, err := f.client.Verify(t.Context(), otp.Verification{IDRequest: id, OTP: secret.New("1")})
		if e := fault(t, err, clients.Invalid); !e.NotSent {
			t.Errorf("%q: NotSent is false", id)
		}
	}
	if n := f.Calls(danaconnecttest.OpVerify); n != 0 {
		t.Errorf("%d calls", n)
	}
	f.gate.Expect(t)
}

// TestDryRunBuildsTheSameRequest: a dry run gives the Caller a transport of its
// own, which gets the request that production sends.
func TestDryRunBuildsTheSameRequest(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	if _, err := f.call(t.Context(), otp.OpSend); err != nil {
		t.Fatal(err)
	}
	real := f.Requests(danaconnecttest.OpSend)[0]

	var method, path, auth string
	var body []byte
	captured := errors.New("captured")
	caller := clients.NewCaller(
		danaconnect.Vendor,
		clients.Timeouts{},
		transport(func(r *http.Request) (*http.Response, error) {
			method = r.Method
			path = r.URL.Path
			auth = r.Header.Get("Authorization")
			body, _ = io.ReadAll(r.Body)
			return nil, captured
		}),
		nil,
	)
	c, err := otp.New(config("https://danaconnect.example/danaconnect/"), &clientstest.Gate{}, caller)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Send(t.Context(), message())
	if e := fault(t, err, clients.Temporary); !e.NotSent {
		t.Error("the error of a dry run says that the request was sent")
	}
	if method != real.Method || path != real.URI || auth != real.Header.Get("Authorization") ||
		string(body) != string(real.Body) {
		t.Errorf("dry run %s %s %s, production %s %s %s", method, path, body, real.Method, real.URI, real.Body)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEvery403IsSettled(t *testing.T) {
	t.Parallel()
	for op := range promises {
		sb := danaconnecttest.New(danaconnecttest.Options{})
		account := &admissiontest.Admitter{}
		caller := clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, nil, nil).AdmittedBy(account)
		client, err := otp.New(config(clientstest.Serve(t, sb, danaconnecttest.Mount)), &clientstest.Gate{}, caller)
		if err != nil {
			t.Fatal(err)
		}
		sb.Inject(sandbox.Fault{Op: sandboxOp(op), Status: 403})
		_, err = fixture{Sandbox: sb, client: client}.call(t.Context(), op)
		fault(t, err, clients.Credentials)
		account.ExpectConcluded(t, 1)
	}
}
