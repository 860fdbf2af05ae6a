package app

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/tokens"
	"errand.internal/internal/vendors"
)

func TestDiagnosisText(t *testing.T) {
	t.Parallel()
	d := Diagnosis{Checks: []Check{
		{"settings", redisguard.OK, "complete and valid", ""},
		{"redis persistence", redisguard.Warn, "none", "switch it on"},
		{"anna dns", redisguard.Fail, "anna.example does not resolve", "correct ANNA_URL"},
	}}
	var b strings.Builder
	if err := d.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `ok    settings           complete and valid
warn  redis persistence  none
                         fix: switch it on
FAIL  anna dns           anna.example does not resolve
                         fix: correct ANNA_URL
`
	if b.String() != want || d.OK() {
		t.Errorf("ok %t\n%s", d.OK(), b.String())
	}
	raw, err := d.MarshalJSON()
	if err != nil ||
		!strings.HasPrefix(
			string(raw),
			`{"ok":false,"checks":[{"name":"settings","level":"ok","seen":"complete and valid","fix":""},{"name":"redis persistence","level":"warn"`,
		) {
		t.Errorf("%s, %v", raw, err)
	}
	d.Checks = d.Checks[:2]
	if !d.OK() {
		t.Error("a warning is no failure")
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	secure, plain := httptest.NewTLSServer(nil), httptest.NewServer(nil)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and then says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	end := secure.Certificate().NotAfter
	local := func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	broken := func(context.Context, string) ([]string, error) { return nil, errors.New("canary") }
	secureAs := func(host string) string {
		_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
		return "https://" + net.JoinHostPort(host, port) + "/base"
	}
	for _, tc := range []struct {
		name       string
		url        string
		lookup     func(context.Context, string) ([]string, error)
		now        time.Time
		roots      *x509.CertPool
		dns        Check
		connection Check
		ok         bool
	}{
		{
			name:       "well",
			url:        secure.URL,
			roots:      roots,
			ok:         true,
			dns:        Check{Level: redisguard.OK, Seen: "127.0.0.1 is an address"},
			connection: Check{Level: redisguard.OK, Seen: "TLS 1.3 in "},
		},
		{
			name:       "plain, to this machine",
			url:        plain.URL,
			ok:         true,
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.OK, Seen: "connected in "},
		},
		{
			name:       "a certificate that ends",
			url:        secure.URL,
			roots:      roots,
			now:        end.Add(-10*24*time.Hour - time.Minute),
			ok:         true,
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Warn, Seen: "(10 days left)", Fix: "ask the vendor to renew it"},
		},
		{
			name:       "a certificate that has ended",
			url:        secure.URL,
			roots:      roots,
			now:        end.Add(time.Minute),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "has expired", Fix: "clock"},
		},
		{
			name:       "a certificate of nobody",
			url:        secure.URL,
			roots:      x509.NewCertPool(),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "not trusted", Fix: "SSL_CERT_FILE"},
		},
		{
			name:       "a certificate of somebody else",
			url:        secureAs("localhost"),
			roots:      roots,
			dns:        Check{Level: redisguard.OK, Seen: "localhost has 1 address"},
			connection: Check{Level: redisguard.Fail, Seen: "for another host", Fix: "ANNA_URL"},
		},
		{
			name:       "no TLS there",
			url:        strings.Replace(plain.URL, "http:", "https:", 1),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "does not speak TLS", Fix: "ANNA_URL"},
		},
		{
			name:       "silence",
			url:        "https://" + silent.Addr().String(),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "no TLS handshake within 100ms", Fix: "ANNA_URL"},
		},
		{
			name:       "closed port",
			url:        "https://127.0.0.1:1",
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "127.0.0.1:1: connection refused", Fix: "check ANNA_URL"},
		},
		{
			name:       "no such host",
			url:        "https://anna.example/",
			lookup:     broken,
			dns:        Check{Level: redisguard.Fail, Seen: "anna.example does not resolve", Fix: "correct the host in ANNA_URL"},
			connection: Check{Level: redisguard.Warn, Seen: "not checked", Fix: "see dns"},
		},
		{
			name:       "a password in the URL",
			url:        "https://user:canary@127.0.0.1/",
			dns:        Check{Level: redisguard.Warn, Seen: "not checked: ANNA_URL is wrong", Fix: "settings"},
			connection: Check{Level: redisguard.Warn, Seen: "not checked", Fix: "settings"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := &doctor{
				now:    time.Now,
				lookup: local,
				dial:   (&net.Dialer{}).DialContext,
				roots:  tc.roots,
			}
			if tc.lookup != nil {
				d.lookup = tc.lookup
			}
			if !tc.now.IsZero() {
				d.now = func() time.Time { return tc.now }
			}
			limits := clients.Timeouts{Connect: 10 * time.Second, TLS: 10 * time.Second} // a busy machine may need them
			if tc.name == "silence" {
				limits.TLS = 100 * time.Millisecond
			}
			checks, ok := d.reach(t.Context(), "anna", vendors.Address{Variable: "ANNA_URL", URL: tc.url}, limits)
			if ok != tc.ok || len(checks) != 2 {
				t.Fatalf("%t %+v", ok, checks)
			}
			for i, want := range []Check{tc.dns, tc.connection} {
				got := checks[i]
				want.Name = []string{"anna dns", "anna connection"}[i]
				if got.Name != want.Name || got.Level != want.Level || !strings.Contains(got.Seen, want.Seen) ||
					!strings.Contains(got.Fix, want.Fix) ||
					(got.Fix == "") != (want.Fix == "") {
					t.Errorf("got %+v\nwant %+v", got, want)
				}
				if strings.Contains(got.Seen+got.Fix, "canary") || strings.Contains(got.Seen, "/base") {
					t.Errorf("it shows too much: %+v", got)
				}
			}
		})
	}
}

// ALLOW_INSECURE_HTTP permits plain http to other machines; it is warned about.
func TestConnectWithoutTLS(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	d := &doctor{now: time.Now}
	d.lookup = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1", "192.0.2.2"}, nil }
	d.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "anna.example:80" {
			t.Errorf("dials %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, plain.Listener.Addr().String())
	}
	checks, ok := d.reach(
		t.Context(),
		"anna",
		vendors.Address{Variable: "ANNA_URL", URL: "http://anna.example/base"},
		clients.Timeouts{},
	)
	if !ok || checks[0].Seen != "anna.example has 2 addresses" || checks[1].Level != redisguard.Warn ||
		!strings.Contains(checks[1].Seen, "without TLS") ||
		checks[1].Fix != "use https in ANNA_URL" {
		t.Errorf("%t %+v", ok, checks)
	}
}

func TestJudgeStatic(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	s := vendors.Site{Login: []string{"DCKAP_TOKEN"}}
	for _, tc := range []struct {
		name  string
		state tokens.State
		level redisguard.Level
		seen  string
	}{
		{"never used", tokens.State{}, redisguard.Warn, "unproven: no harmless call"},
		{"proven", tokens.State{Proven: true}, redisguard.OK, "proven"},
		{"refused, may be tried", tokens.State{Profile: "p", Refusals: 2, Reason: "the vendor refused a call"}, redisguard.Warn, "unproven; refused 2 times (the vendor refused a call), may be tried again"},
		{"ended", tokens.State{Proven: true, ExpiresOn: day(9)}, redisguard.Fail, "expired on 2026-03-09"},
		{"ends today", tokens.State{Proven: true, ExpiresOn: day(10)}, redisguard.Warn, "expires on 2026-03-10"},
		{"ends soon", tokens.State{Proven: true, ExpiresOn: day(39)}, redisguard.Warn, "expires on 2026-04-08"},
		{"ends later", tokens.State{Proven: true, ExpiresOn: day(41)}, redisguard.OK, "proven"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := judgeStatic(tc.state, s, now)
			if c.Level != tc.level || !strings.Contains(c.Seen, tc.seen) ||
				(c.Level == redisguard.OK) != (c.Fix == "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestResting(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		state  tokens.State
		logsIn bool
		level  redisguard.Level // "" is not resting
		seen   string
	}{
		{"free", tokens.State{Refusals: 1}, true, "", ""},
		{"refused, though a token is left", tokens.State{
			CoolingFor: time.Minute,
			Refused:    true,
			Refusals:   2,
			TokenFor:   time.Hour,
		}, true, redisguard.Fail, "refused 2 times, next try in 1m0s"},
		{"refused call", tokens.State{CoolingFor: time.Minute, Refused: true, Refusals: 1}, false, redisguard.Fail, "refused once"},
		{"outage", tokens.State{CoolingFor: time.Second}, true, redisguard.Fail, "login service in trouble, next try in 1s"},
		{"outage with a token", tokens.State{CoolingFor: time.Second, TokenFor: time.Hour}, true, redisguard.Warn, "token valid for 1h0m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, found := resting(tc.state, vendors.Site{Login: []string{"X"}}, tc.logsIn)
			if found != (tc.level != "") || c.Level != tc.level || !strings.Contains(c.Seen, tc.seen) ||
				found && c.Fix == "" {
				t.Errorf("%t %+v", found, c)
			}
		})
	}
}

func TestUnasked(t *testing.T) {
	t.Parallel()
	if c := unasked(tokens.State{TokenFor: time.Hour}, "why", "fix"); c.Level != redisguard.OK ||
		!strings.Contains(c.Seen, "valid for 1h0m0s (not tried from here: why)") ||
		c.Fix != "" {
		t.Errorf("%+v", c)
	}
	if c := unasked(tokens.State{}, "why", "fix"); c.Level != redisguard.Warn || c.Fix != "fix" {
		t.Errorf("%+v", c)
	}
}

func TestJudgeLogin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		seen string
	}{
		{"refused", &tokens.CoolingError{Profile: "anna", RetryAfter: time.Minute, Reason: "why"}, "credential anna was refused (why); next try in 1m0s"},
		{"in trouble", &tokens.UnavailableError{Profile: "anna", RetryAfter: time.Second, Err: &clients.Error{Vendor: "anna", Op: "get token", Status: 503}}, "anna get token: unknown (HTTP 503)"},
		{"in trouble lately", &tokens.UnavailableError{Profile: "anna", RetryAfter: time.Second, Err: errors.New("the login service failed lately")}, "login of anna is unavailable; next try in 1s"},
		{"too slow", context.DeadlineExceeded, "did not end within the doctor's 20s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if c := judgeLogin(tc.err, vendors.Site{Login: []string{"X"}}); c.Level != redisguard.Fail ||
				!strings.Contains(c.Seen, tc.seen) ||
				c.Fix == "" {
				t.Errorf("%+v", c)
			}
		})
	}
}
