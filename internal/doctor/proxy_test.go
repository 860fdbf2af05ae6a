package doctor

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/secret"
)

// The doctor connects as calls do: through the proxy, which also resolves the host.
func TestConnectionThroughAProxy(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(web.Close)
	proxy, err := clients.ParseProxy(secret.New(strings.Replace(web.URL, "://", "://user:canary@", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p := &prober{
		dial:  (&net.Dialer{}).DialContext,
		proxy: proxy,
		lookup: func(context.Context, string) ([]string, error) {
			t.Error("the doctor resolves the host itself")
			return nil, nil
		},
	}
	address := account.Address{Variable: "ACME_URL", URL: "https://acme.example/base"}
	checks, ok := p.addressChecks(t.Context(), "acme", address, clients.Timeouts{})
	if ok || checks[0].Level != redisguard.OK || !strings.Contains(checks[1].Seen, "OUTBOUND_PROXY refused") ||
		!strings.Contains(checks[1].Seen, "status 407") || !strings.Contains(checks[1].Fix, "acme.example:443") {
		t.Errorf("%t %+v", ok, checks)
	}
	if got := <-asked; got != "CONNECT acme.example:443" {
		t.Errorf("the proxy was asked %q", got)
	}
	for _, c := range checks {
		if strings.Contains(c.Seen+c.Fix, "canary") {
			t.Errorf("it shows the password: %+v", c)
		}
	}
}
