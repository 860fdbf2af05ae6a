package otp_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/secret"
)

// TestRefusedSends covers the statuses of the public OpenAPI and the 200 that the
// vendor's page may mean.
func TestRefusedSends(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*otp.Message)
		code   string
	}{
		{"type", func(m *otp.Message) { m.OTPType = 3 }, "07"},
		{"no type", func(m *otp.Message) { m.OTPType = 0 }, "07"},
		{"short", func(m *otp.Message) { m.Length = 2 }, "08"},
		{"long", func(m *otp.Message) { m.Length = 13 }, "08"},
		{"no expiration", func(m *otp.Message) { m.SecondsExpiration = new(0) }, "09"},
		{"3600 seconds", func(m *otp.Message) { m.SecondsExpiration = new(3600) }, "09"},
		{"conversation", func(m *otp.Message) { m.IDConversation = 1 }, "10"},
		{"no values", func(m *otp.Message) { m.Values = nil }, "15"},
		{"value without a key", func(m *otp.Message) { m.Values = otp.Values{{Value: "x"}} }, "15"},
		{"negative tries", func(m *otp.Message) { m.MaximumTries = new(-1) }, "15"},
	}
	for _, statusOK := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, " always 200: ", statusOK), func(t *testing.T) {
				t.Parallel()
				f := start(t, danaconnecttest.Options{StatusOK: statusOK})
				m := message()
				tt.change(&m)
				_, err := f.client.Send(t.Context(), m)
				if e := fault(t, err, clients.Invalid); e.Code != tt.code || (e.Status == 200) != statusOK {
					t.Errorf("code %s with status %d, want %s", e.Code, e.Status, tt.code)
				}
				if n := f.Effects(danaconnecttest.OpSend); n != 0 {
					t.Errorf("%d codes went out", n)
				}
			})
		}
	}
}

func TestExtremeSendsAreAccepted(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	for _, m := range []otp.Message{
		{OTPType: 1, Length: 3, SecondsExpiration: new(1)},
		{
			OTPType:           2,
			Length:            12,
			SecondsExpiration: new(3200),
			MaximumTries:      new(100),
		},
	} {
		m.IDConversation, m.Values = danaconnecttest.Conversation, otp.Values{{Key: "K", Value: ""}}
		if _, err := f.client.Send(t.Context(), m); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestWrongLogin(t *testing.T) {
	t.Parallel()
	for _, statusOK := range []bool{false, true} {
		for name, change := range map[string]func(*danaconnect.BasicConfig){
			"password": func(c *danaconnect.BasicConfig) { c.Password = secret.New("canary-wrong") },
			"user":     func(c *danaconnect.BasicConfig) { c.Username = "canary-user" },
			"company":  func(c *danaconnect.BasicConfig) { c.Company = "canary-company" },
		} {
			for _, op := range []string{otp.OpSend, otp.OpVerify} {
				t.Run(fmt.Sprint(op, " ", name, " always 200: ", statusOK), func(t *testing.T) {
					t.Parallel()
					f := start(t, danaconnecttest.Options{StatusOK: statusOK})
					cfg := config(clientstest.Serve(t, f.Sandbox, danaconnecttest.Mount))
					change(&cfg)
					f.client = newClient(t, cfg, f.gate, clients.Timeouts{})
					_, err := f.call(t.Context(), op)
					if e := fault(t, err, clients.Credentials); e.Code != "06" {
						t.Errorf("code %q", e.Code)
					}
					f.gate.Expect(t, admission.Refused)
					clientstest.NoLeak(t, err, "canary-wrong", "canary-user", "canary-company")
				})
			}
		}
	}
}

func TestLoginWithSpecialCharacters(t *testing.T) {
	t.Parallel()
	sb := danaconnecttest.New(danaconnecttest.Options{Logins: map[string]string{"ana@example.com@acme": "%p:w@ñ "}})
	cfg := config(clientstest.Serve(t, sb, danaconnecttest.Mount))
	cfg.Username = "ana@example.com"
	cfg.Company = "acme"
	cfg.Password = secret.New("%p:w@ñ ")
	if _, err := newClient(t, cfg, &clientstest.Gate{}, clients.Timeouts{}).Send(t.Context(), message()); err != nil {
		t.Error(err)
	}
}

// clock is a manual clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func TestVerdictsOverTheLifeOfACode(t *testing.T) {
	t.Parallel()
	const right, wrong = "right", "wrong"
	tests := []struct {
		name  string
		typed []string // one per second, "" for none
		want  []otp.Verdict
	}{
		{"right at once", []string{right}, []otp.Verdict{otp.Correct}},
		{
			"twice",
			[]string{right, right, wrong},
			[]otp.Verdict{otp.Correct, otp.Used, otp.Used},
		},
		{"after one error", []string{wrong, right}, []otp.Verdict{otp.Incorrect, otp.Correct}},
		{
			"too many errors",
			[]string{wrong, wrong, right},
			[]otp.Verdict{otp.Incorrect, otp.Incorrect, otp.Locked},
		},
		{
			"too late",
			[]string{"", "", "", right},
			[]otp.Verdict{otp.None, otp.None, otp.None, otp.Expired},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := &clock{now: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)}
			f := start(t, danaconnecttest.Options{Now: now.Now})
			m := message()
			m.SecondsExpiration = new(4)
			m.MaximumTries = new(2)
			m.OTPType = 2
			m.Length = 6
			sent, err := f.client.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			for i, typed := range tt.typed {
				now.add(time.Second)
				if typed == "" {
					continue
				}
				if typed == right {
					typed = f.Code(sent.IDRequest)
				}
				v, err := f.client.Verify(
					t.Context(),
					otp.Verification{IDRequest: sent.IDRequest, OTP: secret.New(typed)},
				)
				if v.Verdict != tt.want[i] {
					t.Fatalf("attempt %d: verdict %q, want %q (%v)", i+1, v.Verdict, tt.want[i], err)
				}
				if v.Verdict == otp.Correct && err != nil {
					t.Errorf("attempt %d: %v", i+1, err)
				}
				if v.Verdict != otp.Correct {
					fault(t, err, clients.Declined)
				}
			}
		})
	}
}

func TestVerifyOfAnUnknownRequest(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	_, err := f.client.Verify(t.Context(), otp.Verification{IDRequest: "99", OTP: secret.New("1")})
	if e := fault(t, err, clients.Invalid); e.Code != "15" {
		t.Errorf("code %q", e.Code)
	}
}
