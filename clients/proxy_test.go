package clients_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"errand.internal/clients"
	"errand.internal/internal/secret"
	"errand.internal/internal/webtest"
)

// connectProxy is a proxy that leads every CONNECT to one server, and keeps what
// passes.
type connectProxy struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string // "method host login"
	passed bytes.Buffer
}

// Write keeps what passes.
func (p *connectProxy) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed.Write(b)
}

func (p *connectProxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

func newConnectProxy(t *testing.T, to string, status int) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		p.mu.Unlock()
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		vendor, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		client, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = vendor.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(io.MultiWriter(vendor, p), client)
			_ = vendor.Close()
		}()
		go func() {
			_, _ = io.Copy(io.MultiWriter(client, p), vendor)
			_ = client.Close()
		}()
	}))
	t.Cleanup(p.Close)
	return p
}

// through returns a Caller through the proxy with a login, and who it trusts.
func (p *connectProxy) through(t *testing.T, vendor *httptest.Server) *clients.Caller {
	t.Helper()
	proxy, err := clients.ParseProxy(secret.New(strings.Replace(p.URL, "://", "://user:p%40ss@", 1)))
	if err != nil {
		t.Fatal(err)
	}
	transport := proxy.Transport(clients.Timeouts{})
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(vendor.Certificate())
	t.Cleanup(transport.CloseIdleConnections)
	return clients.NewCaller("acme", clients.Timeouts{}, transport, nil)
}

func get(t *testing.T, caller *clients.Caller, url string) (*clients.Answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token-canary")
	return caller.Do(t.Context(), "op", req)
}

// https goes through the proxy, which learns the host only: the TLS is the
// vendor's own. Loopback does not go through it.
func TestProxyCarriesHTTPSOnly(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "answer-canary "+r.Header.Get("Proxy-Authorization"))
	}))
	t.Cleanup(vendor.Close)
	proxy := newConnectProxy(t, vendor.Listener.Addr().String(), http.StatusOK)
	caller := proxy.through(t, vendor)

	a, err := get(t, caller, "https://example.com/path-canary")
	if err != nil || string(a.Body) != "answer-canary " {
		t.Fatalf("%+v, %v", a, err)
	}
	const want = "CONNECT example.com:443 Basic dXNlcjpwQHNz"
	if got := proxy.requests(); len(got) != 1 || got[0] != want {
		t.Errorf("the proxy was asked %q, want %q", got, want)
	}
	proxy.mu.Lock()
	if n := proxy.passed.Len(); n == 0 || bytes.Contains(proxy.passed.Bytes(), []byte("canary")) {
		t.Errorf("of %d bytes the proxy can read the call", n)
	}
	proxy.mu.Unlock()

	if a, err := get(t, caller, vendor.URL); err != nil || a.Status != http.StatusOK {
		t.Errorf("loopback: %+v, %v", a, err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	if a, err := get(t, caller, plain.URL); err != nil || a.Status != http.StatusNotFound {
		t.Errorf("plain loopback: %+v, %v", a, err)
	}
	if got := proxy.requests(); len(got) != 1 {
		t.Errorf("loopback went through the proxy: %q", got)
	}
}

// A certificate that is not the vendor's is refused, whoever presents it.
func TestProxyCannotPresentAnotherCertificate(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(vendor.Close)
	proxy := newConnectProxy(t, vendor.Listener.Addr().String(), http.StatusOK)
	_, err := get(t, proxy.through(t, vendor), "https://other.example/")
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.Credentials || !e.NotSent {
		t.Errorf("err = %v, want a certificate that is not trusted", err)
	}
}

// A proxy that does not connect is named, and nothing was sent.
func TestProxyThatRefuses(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(vendor.Close)
	gone := &connectProxy{Server: &httptest.Server{URL: "http://" + webtest.Reserve(t).Addr}}
	for _, tc := range []struct {
		name  string
		proxy *connectProxy
		want  string
	}{
		{"login", newConnectProxy(t, "", http.StatusProxyAuthRequired), "status 407, it wants another user"},
		{"host", newConnectProxy(t, "", http.StatusForbidden), "OUTBOUND_PROXY refused to connect: status 403"},
		{"gone", gone, "the proxy of OUTBOUND_PROXY cannot be reached"},
	} {
		_, err := get(t, tc.proxy.through(t, vendor), "https://example.com/path-canary")
		e, ok := clients.AsError(err)
		if !ok || e.Kind != clients.Temporary || !e.NotSent || !strings.Contains(e.Error(), tc.want) ||
			strings.Contains(e.Error(), "p%40ss") || strings.Contains(e.Error(), "canary") {
			t.Errorf("%s: err = %v, want %q", tc.name, err, tc.want)
		}
	}
}

// Dial, which the doctor uses, asks as calls do.
func TestProxyDial(t *testing.T) {
	t.Parallel()
	vendor := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(vendor.Close)
	dial := func(p *connectProxy) error {
		proxy, err := clients.ParseProxy(secret.New(strings.Replace(p.URL, "://", "://user:p%40ss@", 1)))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := proxy.Dial(t.Context(), (&net.Dialer{}).DialContext, "example.com:443")
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	open := newConnectProxy(t, vendor.Listener.Addr().String(), http.StatusOK)
	if err := dial(open); err != nil {
		t.Error(err)
	}
	const want = "CONNECT example.com:443 Basic dXNlcjpwQHNz"
	if got := open.requests(); len(got) != 1 || got[0] != want {
		t.Errorf("the proxy was asked %q, want %q", got, want)
	}
	if err := dial(newConnectProxy(t, "", http.StatusForbidden)); clients.ProxyFault(err) == "" {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	proxy, _ := clients.ParseProxy(secret.New(open.URL))
	if _, err := proxy.Dial(ctx, (&net.Dialer{}).DialContext, "example.com:443"); err == nil {
		t.Error("a cancelled Dial connects")
	}
}

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, shown, rule string }{
		{text: ""},
		{text: "http://proxy.example:3128", shown: "http://proxy.example:3128"},
		{text: "http://u:canary@[::1]:80/", shown: "http://[::1]:80"},
		{text: "https://u:canary@proxy:1", rule: "must be http://host:port"},
		{text: "proxy:3128", rule: "must be http://host:port"},
		{text: "http://u:can%ary@proxy:1", rule: "must be http://host:port"},
		{text: "http://canary", rule: "must name host and port"},
		{text: "http://:1", rule: "must name host and port"},
		{text: "http://a%2525b:1", rule: "must name host and port"},
		{text: "http://proxy:0", rule: "must name host and port"},
		{text: "http://proxy:1/canary", rule: "must end after the port"},
		{text: "http://proxy:1?canary", rule: "must end after the port"},
		{text: "http://:canary@proxy:1", rule: "has a password without a user"},
	} {
		p, err := clients.ParseProxy(secret.New(tc.text))
		shown := fmt.Sprintf("%v %+v %#v", p, p, p)
		switch {
		case tc.rule == "" && (err != nil || p.String() != tc.shown):
			t.Errorf("%q: %v, %v, want %q", tc.text, p, err, tc.shown)
		case tc.rule != "" && (err == nil || !strings.HasPrefix(err.Error(), "OUTBOUND_PROXY: "+tc.rule)):
			t.Errorf("%q: err = %v, want %q", tc.text, err, tc.rule)
		case strings.Contains(shown+fmt.Sprint(err), "canary"):
			t.Errorf("%q is shown: %s %v", tc.text, shown, err)
		}
	}
}
