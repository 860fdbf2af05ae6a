package monitor_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand.internal/internal/monitor"
	"errand.internal/internal/webserver"
	"errand.internal/internal/webtest"
)

// serve serves a handler on an address until the test ends. It returns the address that
// the server has.
func serve(t *testing.T, addr string, h http.Handler) string {
	t.Helper()
	l, err := webserver.Listen(t.Context(), "HTTP_ADDR", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().String()
}

func TestCheckReady(t *testing.T) {
	t.Parallel()
	reply := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				http.NotFound(w, r)
				return
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	ready := reply(200, `{"ready":true}`)
	// The server listens on every interface, so that addresses without a host reach it.
	addr := serve(t, ":0", ready)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"", "0.0.0.0", "[::]", "127.0.0.1", "localhost"} {
		if err := monitor.CheckReady(t.Context(), host+":"+port); err != nil {
			t.Errorf("CheckReady(%s:%s) = %v", host, port, err)
		}
	}

	notReady := serve(t, "127.0.0.1:0", reply(503, `{"ready":false,"reason":"redis: gone"}`))
	reasonless := serve(t, "127.0.0.1:0", reply(503, `{}`))
	foreign := serve(t, "127.0.0.1:0", http.NotFoundHandler())
	redirect := serve(t, "127.0.0.1:0", http.RedirectHandler("http://"+addr+"/readyz", http.StatusFound))
	tests := []struct{ name, addr, want string }{
		{name: "not ready", addr: notReady, want: "not ready: redis: gone"},
		{name: "not ready without a reason", addr: reasonless, want: "not ready: status 503"},
		{name: "another server", addr: foreign, want: "is not a worker"},
		{name: "redirect", addr: redirect, want: "is not a worker"},
		{name: "nothing listens", addr: webtest.Reserve(t).Addr, want: "start one, or give its settings: request /readyz: dial tcp"},
		{name: "no admin http", addr: "", want: "HTTP_ADDR: is empty"},
		{name: "no port", addr: "localhost", want: "HTTP_ADDR: must be host:port"},
		{name: "port zero", addr: "localhost:0", want: "HTTP_ADDR: names no usable port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := monitor.CheckReady(t.Context(), tt.addr); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckReady = %v, want %q", err, tt.want)
			}
		})
	}
}
