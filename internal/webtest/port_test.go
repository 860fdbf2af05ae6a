package webtest_test

import (
	"net"
	"net/http"
	"testing"

	"errand.internal/internal/netfault"
	"errand.internal/internal/webtest"
)

// A reserved port refuses connections and belongs to nobody else, until it is served.
func TestReservedPort(t *testing.T) {
	t.Parallel()
	p := webtest.Reserve(t)
	var d net.Dialer
	if _, err := d.DialContext(t.Context(), "tcp", p.Addr); netfault.Of(err) != netfault.Refused {
		t.Errorf("dial = %v, want refused", err)
	}
	if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", p.Addr); err == nil {
		_ = l.Close()
		t.Error("another listener was given the port")
	}
	p.Serve(t, http.NotFoundHandler())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := webtest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
