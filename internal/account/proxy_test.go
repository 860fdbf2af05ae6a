package account

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// The calls of an account go through the proxy.
func TestCallsGoThroughTheProxy(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(web.Close)
	shared := unreachable(t)
	var err error
	if shared.Proxy, err = clients.ParseProxy(secret.New(web.URL)); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://acme.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(shared).Caller("acme", clients.Timeouts{}).Do(t.Context(), "op", req)
	if clients.ProxyFault(err) != "" || err == nil { // the cause is not in the chain, because it may show the URL
		t.Errorf("err = %v", err)
	}
	select {
	case got := <-asked:
		if got != "CONNECT acme.example:443" {
			t.Errorf("the proxy was asked %q", got)
		}
	default:
		t.Errorf("the call did not go through the proxy: %v", err)
	}
}
