package doctor

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
	"errand.internal/internal/account"
	"errand.internal/internal/redisguard"
)

func TestAddressChecks(t *testing.T) {
	t.Parallel()
	secure, plain := httptest.NewTLSServer(nil), httptest.NewServer(nil)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and stays silent
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
			name:       "trusted",
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
			name:       "a certificate that expires soon",
			url:        secure.URL,
			roots:      roots,
			now:        end.Add(-10*24*time.Hour - time.Minute),
			ok:         true,
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Warn, Seen: "(10 days left)", Fix: "ask the vendor to renew it"},
		},
		{
			name:       "an expired certificate",
			url:        secure.URL,
			roots:      roots,
			now:        end.Add(time.Minute),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "has expired", Fix: "clock"},
		},
		{
			name:       "a certificate of an unknown authority",
			url:        secure.URL,
			roots:      x509.NewCertPool(),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "not trusted", Fix: "SSL_CERT_FILE"},
		},
		{
			name:       "a certificate for another host",
			url:        secureAs("localhost"),
			roots:      roots,
			dns:        Check{Level: redisguard.OK, Seen: "localhost has 1 address"},
			connection: Check{Level: redisguard.Fail, Seen: "for another host", Fix: "ACME_URL"},
		},
		{
			name:       "no TLS",
			url:        strings.Replace(plain.URL, "http:", "https:", 1),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "does not speak TLS", Fix: "ACME_URL"},
		},
		{
			name:       "silence",
			url:        "https://" + silent.Addr().String(),
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "no TLS handshake within 100ms", Fix: "ACME_URL"},
		},
		{
			name:       "closed port",
			url:        "https://127.0.0.1:1",
			dns:        Check{Level: redisguard.OK},
			connection: Check{Level: redisguard.Fail, Seen: "127.0.0.1:1: connection refused", Fix: "check ACME_URL"},
		},
		{
			name:       "no such host",
			url:        "https://acme.example/",
			lookup:     broken,
			dns:        Check{Level: redisguard.Fail, Seen: "acme.example does not resolve", Fix: "correct the host in ACME_URL"},
			connection: Check{Level: redisguard.Warn, Seen: "not checked", Fix: "see dns"},
		},
		{
			name:       "a password in the URL",
			url:        "https://user:canary@127.0.0.1/",
			dns:        Check{Level: redisguard.Warn, Seen: "not checked: ACME_URL is wrong", Fix: "settings"},
			connection: Check{Level: redisguard.Warn, Seen: "not checked", Fix: "settings"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := &prober{
				now:    time.Now,
				lookup: local,
				dial:   (&net.Dialer{}).DialContext,
				roots:  tc.roots,
			}
			if tc.lookup != nil {
				p.lookup = tc.lookup
			}
			if !tc.now.IsZero() {
				p.now = func() time.Time { return tc.now }
			}
			timeouts := clients.Timeouts{Connect: 10 * time.Second, TLS: 10 * time.Second} // a busy machine may need them
			if tc.name == "silence" {
				timeouts.TLS = 100 * time.Millisecond
			}
			checks, ok := p.addressChecks(t.Context(), "acme", account.Address{Variable: "ACME_URL", URL: tc.url}, timeouts)
			if ok != tc.ok || len(checks) != 2 {
				t.Fatalf("%t %+v", ok, checks)
			}
			for i, want := range []Check{tc.dns, tc.connection} {
				got := checks[i]
				want.Name = []string{"acme dns", "acme connection"}[i]
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
	p := &prober{now: time.Now}
	p.lookup = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1", "192.0.2.2"}, nil }
	p.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "acme.example:80" {
			t.Errorf("dials %s", addr)
		}
		return (&net.Dialer{}).DialContext(ctx, network, plain.Listener.Addr().String())
	}
	checks, ok := p.addressChecks(
		t.Context(),
		"acme",
		account.Address{Variable: "ACME_URL", URL: "http://acme.example/base"},
		clients.Timeouts{},
	)
	if !ok || checks[0].Seen != "acme.example has 2 addresses" || checks[1].Level != redisguard.Warn ||
		!strings.Contains(checks[1].Seen, "without TLS") ||
		checks[1].Fix != "use https in ACME_URL" {
		t.Errorf("%t %+v", ok, checks)
	}
}
