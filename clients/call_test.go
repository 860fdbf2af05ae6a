package clients_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

const opOrder = "order"

// newAcme returns the sandbox of a vendor with one operation, POST order.
func newAcme() *sandbox.Engine {
	e := sandbox.New(nil)
	e.Handle("v1/order", opOrder, func(c *sandbox.Call) sandbox.Answer {
		c.Effect(string(c.Body))
		return sandbox.JSON(http.StatusOK, map[string]bool{"success": true})
	})
	return e
}

// order makes a client of acme and returns a call that places an order.
func order(t *testing.T, base string, timeouts clients.Timeouts) func(context.Context) error {
	t.Helper()
	at, err := clients.ParseBaseURL("ACME_URL", base, false)
	if err != nil {
		t.Fatal(err)
	}
	caller := clients.NewCaller("acme", timeouts, nil, nil)
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(
			ctx,
			http.MethodPost,
			at.Join("v1/order"),
			strings.NewReader("canary-body"),
		)
		if err != nil {
			return err
		}
		req.SetBasicAuth("canary-user", "canary-password")
		a, err := caller.Do(ctx, opOrder, req)
		if err != nil {
			return err
		}
		if a.Status > 299 {
			return clients.StatusError("acme", opOrder, a)
		}
		var reply struct {
			Success *bool `json:"success"`
		}
		if err := clients.DecodeObject(a, &reply); err != nil {
			return clients.UnreadableError("acme", opOrder, a, err.Error())
		}
		if reply.Success == nil || !*reply.Success {
			return clients.UnreadableError("acme", opOrder, a, "no success")
		}
		return nil
	}
}

func TestCallerPassesTheSharedChecks(t *testing.T) {
	t.Parallel()
	clientstest.Check(t, clientstest.Subject{
		Op:       opOrder,
		Mount:    "/acme/",
		Call:     order,
		New:      func(*testing.T) clientstest.Sandbox { return newAcme() },
		Canaries: []string{"canary-body", "canary-user", "canary-password"},
	})
}

// do serves acme and sends it one order through caller.
func do(ctx context.Context, t *testing.T, caller *clients.Caller, acme *sandbox.Engine) (*clients.Answer, error) {
	t.Helper()
	base := clientstest.Serve(t, acme, "/acme/")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"v1/order", strings.NewReader("one"))
	if err != nil {
		t.Fatal(err)
	}
	return caller.Do(ctx, opOrder, req)
}

func TestCallerCutsALongBodyAtMaxBody(t *testing.T) {
	t.Parallel()
	acme := newAcme()
	acme.Inject(sandbox.Fault{Op: opOrder, Oversized: true})
	a, err := do(t.Context(), t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil), acme)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Incomplete || len(a.Body) != clients.MaxBody {
		t.Errorf("incomplete %v, %d bytes; want true, %d", a.Incomplete, len(a.Body), clients.MaxBody)
	}
}

func TestCallerReadsABodyOfExactlyMaxBody(t *testing.T) {
	t.Parallel()
	acme := newAcme()
	acme.Inject(sandbox.Fault{Op: opOrder, Body: new(strings.Repeat("x", clients.MaxBody))})
	a, err := do(t.Context(), t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil), acme)
	if err != nil || a.Incomplete || len(a.Body) != clients.MaxBody {
		t.Errorf("%v, %+v", err, a)
	}
}

func TestCallerIgnoresProxyVariables(t *testing.T) {
	var seen atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Store(true) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	// net/http never sends loopback through a proxy, so the test needs the name of
	// another host. It does not resolve.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://errand-test.invalid/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = clients.NewCaller("acme", clients.Timeouts{Connect: time.Second}, nil, nil).Do(t.Context(), opOrder, req)
	if e, ok := clients.AsError(err); !ok || !e.NotSent || seen.Load() {
		t.Errorf("error %v, proxy used %v", err, seen.Load())
	}
}

func TestCallerObservesEveryCall(t *testing.T) {
	t.Parallel()
	var seen []clients.Observation
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, func(o clients.Observation) { seen = append(seen, o) })
	acme := newAcme()
	acme.Inject(sandbox.Fault{Op: opOrder, Times: 1, Status: 503}, sandbox.Fault{Op: opOrder, Drop: true})
	if _, err := do(t.Context(), t, caller, acme); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t.Context(), t, caller, acme); err == nil {
		t.Fatal("the dropped call succeeded")
	}
	if len(seen) != 2 || seen[0].Status != 503 || seen[1].Status != 0 || seen[0].Vendor != "acme" ||
		seen[0].Op != opOrder ||
		seen[0].Took <= 0 {
		t.Errorf("observations %+v", seen)
	}
}

func TestCallerReusesConnections(t *testing.T) {
	t.Parallel()
	acme := newAcme()
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.StripPrefix("/acme", acme))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { opened.Add(1); return ctx }
	server.Start()
	t.Cleanup(server.Close)
	call := order(t, server.URL+"/acme/", clients.Timeouts{})
	for range 5 {
		if err := call(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for 5 calls, want 1", n)
	}
}

func TestCallerUsesTheGivenTransport(t *testing.T) {
	t.Parallel()
	stop := errors.New("dry run")
	var got []byte
	caller := clients.NewCaller("acme", clients.Timeouts{}, roundTripper(func(r *http.Request) (*http.Response, error) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		got = b.Bytes()
		return nil, stop
	}), nil)
	_, err := do(t.Context(), t, caller, newAcme())
	if e, ok := clients.AsError(err); !ok || !e.NotSent || string(got) != "one" {
		t.Errorf("error %v, body %q", err, got)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A StatusOnly Caller neither returns a body nor waits for it, and still reuses the
// connection if the body is short.
func TestStatusOnlyDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("canary"))
		if r.URL.Path == "/endless" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	web.Start()
	t.Cleanup(web.Close)
	caller := clients.NewCaller("sink", clients.Timeouts{Call: time.Minute}, nil, nil).StatusOnly()
	for _, path := range []string{"/", "/", "/endless"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		a, err := caller.Do(t.Context(), "post", req)
		if err != nil || a.Status != http.StatusAccepted || len(a.Body) != 0 || time.Since(start) > 30*time.Second {
			t.Errorf("%s: %+v, %v, after %s", path, a, err, time.Since(start))
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
