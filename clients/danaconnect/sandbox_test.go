package danaconnect_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// What the vendor refuses by itself, with the statuses of the OpenAPI and with
// the 200 that the page may mean.
func TestRefusedSends(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*danaconnect.OTP)
		code   string
	}{
		{"type", func(m *danaconnect.OTP) { m.Type = 3 }, "07"},
		{"no type", func(m *danaconnect.OTP) { m.Type = 0 }, "07"},
		{"short", func(m *danaconnect.OTP) { m.Length = 2 }, "08"},
		{"long", func(m *danaconnect.OTP) { m.Length = 13 }, "08"},
		{"no expiration", func(m *danaconnect.OTP) { m.SecondsExpiration = 0 }, "09"},
		{"3600 seconds", func(m *danaconnect.OTP) { m.SecondsExpiration = 3600 }, "09"},
		{"conversation", func(m *danaconnect.OTP) { m.IDConversation = 1 }, "10"},
		{"no values", func(m *danaconnect.OTP) { m.Values = nil }, "15"},
		{"value without a key", func(m *danaconnect.OTP) { m.Values = []danaconnect.Value{{Value: "x"}} }, "15"},
		{"negative tries", func(m *danaconnect.OTP) { m.MaximumTries = -1 }, "15"},
	}
	for _, statusOK := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, " always 200: ", statusOK), func(t *testing.T) {
				t.Parallel()
				f := start(t, danaconnecttest.Options{StatusOK: statusOK})
				m := code()
				tt.change(&m)
				_, err := f.client.SendOTP(t.Context(), m)
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

func TestLimitsOfASendAreAccepted(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	for _, m := range []danaconnect.OTP{
		{Type: 1, Length: 3, SecondsExpiration: 1},
		{
			Type:              2,
			Length:            12,
			SecondsExpiration: 3200,
			MaximumTries:      100,
		},
	} {
		m.IDConversation, m.Values = danaconnecttest.Conversation, []danaconnect.Value{{Key: "K", Value: ""}}
		if _, err := f.client.SendOTP(t.Context(), m); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestWrongLogin(t *testing.T) {
	t.Parallel()
	for _, statusOK := range []bool{false, true} {
		for name, change := range map[string]func(*danaconnect.OTPConfig){
			"password": func(c *danaconnect.OTPConfig) { c.Password = secret.New("canary-wrong") },
			"user":     func(c *danaconnect.OTPConfig) { c.Username = "canary-user" },
			"company":  func(c *danaconnect.OTPConfig) { c.Company = "canary-company" },
		} {
			for _, op := range []string{danaconnect.OpSend, danaconnect.OpVerify} {
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
					f.gate.Expect(t, tokens.Refused)
					clientstest.NoLeak(t, err, "canary-wrong", "canary-user", "canary-company")
				})
			}
		}
	}
}

func TestLoginKeepsOddSigns(t *testing.T) {
	t.Parallel()
	sb := danaconnecttest.New(danaconnecttest.Options{Logins: map[string]string{"ana@example.com@acme": "%p:w@ñ "}})
	cfg := config(clientstest.Serve(t, sb, danaconnecttest.Mount))
	cfg.Username = "ana@example.com"
	cfg.Company = "acme"
	cfg.Password = secret.New("%p:w@ñ ")
	if _, err := newClient(t, cfg, &clientstest.Gate{}, clients.Timeouts{}).SendOTP(t.Context(), code()); err != nil {
		t.Error(err)
	}
}

// clock is a hand-driven one.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func TestLifeOfACode(t *testing.T) {
	t.Parallel()
	const right, wrong = "right", "wrong"
	tests := []struct {
		name  string
		typed []string // each after a second
		want  []danaconnect.Verdict
	}{
		{"right at once", []string{right}, []danaconnect.Verdict{danaconnect.Correct}},
		{
			"twice",
			[]string{right, right, wrong},
			[]danaconnect.Verdict{danaconnect.Correct, danaconnect.Used, danaconnect.Used},
		},
		{"after one error", []string{wrong, right}, []danaconnect.Verdict{danaconnect.Incorrect, danaconnect.Correct}},
		{
			"too many errors",
			[]string{wrong, wrong, right},
			[]danaconnect.Verdict{danaconnect.Incorrect, danaconnect.Incorrect, danaconnect.Locked},
		},
		{
			"too late",
			[]string{"", "", "", right},
			[]danaconnect.Verdict{danaconnect.None, danaconnect.None, danaconnect.None, danaconnect.Expired},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := &clock{now: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)}
			f := start(t, danaconnecttest.Options{Now: now.Now})
			m := code()
			m.SecondsExpiration = 4
			m.MaximumTries = 2
			m.Type = 2
			m.Length = 6
			sent, err := f.client.SendOTP(t.Context(), m)
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
				v, err := f.client.VerifyOTP(
					t.Context(),
					danaconnect.Verification{IDRequest: sent.IDRequest, OTP: secret.New(typed)},
				)
				if v.Verdict != tt.want[i] {
					t.Fatalf("attempt %d: verdict %q, want %q (%v)", i+1, v.Verdict, tt.want[i], err)
				}
				if v.Verdict == danaconnect.Correct && err != nil {
					t.Errorf("attempt %d: %v", i+1, err)
				}
				if v.Verdict != danaconnect.Correct {
					fault(t, err, clients.Declined)
				}
			}
		})
	}
}

func TestVerifyOfAnUnknownRequest(t *testing.T) {
	t.Parallel()
	f := start(t, danaconnecttest.Options{})
	_, err := f.client.VerifyOTP(t.Context(), danaconnect.Verification{IDRequest: "99", OTP: secret.New("1")})
	if e := fault(t, err, clients.Invalid); e.Code != "15" {
		t.Errorf("code %q", e.Code)
	}
}
