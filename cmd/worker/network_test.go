package main

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// networkRig is a Redis, vendors and a receiver of events with certificates of a company's
// own authority, and a proxy that leads to the receiver.
type networkRig struct {
	*stopRig
	otp       *danaconnecttest.Sandbox
	authority string // file
	connects  chan string
	delivered chan string // types of events
}

func newNetworkRig(t *testing.T) *networkRig {
	t.Helper()
	f := apptest.New(t)
	r := &networkRig{
		stopRig: &stopRig{
			t:      t,
			redis:  f.Redis,
			client: f.Client(t),
		},
		otp:       sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes),
		connects:  make(chan string, 100),
		delivered: make(chan string, 100),
	}
	vendors := httptest.NewTLSServer(f.Sandboxes.Handler())
	t.Cleanup(vendors.Close)
	receiver := httptest.NewTLSServer(http.HandlerFunc(r.receive))
	t.Cleanup(receiver.Close)
	proxy := httptest.NewServer(r.proxyTo(receiver.Listener.Addr().String()))
	t.Cleanup(proxy.Close)
	r.authority = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: vendors.Certificate().Raw} // the receiver's too
	if err := os.WriteFile(r.authority, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	r.environ = f.Sandboxes.Environ(vendors.URL)
	r.environ["REDIS_URL"] = f.Redis.URL()
	r.environ["HTTP_ADDR"] = ""
	r.environ["OUTBOUND_PROXY"] = proxy.URL
	r.environ["EVENTS_URL"] = "https://example.com/hooks"
	r.environ["EVENTS_SECRET"] = apptest.EventsSecret
	return r
}

func (r *networkRig) receive(_ http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(string(raw), `"type":"`)
	kind, _, _ := strings.Cut(rest, `"`)
	r.delivered <- kind
}

// proxyTo answers CONNECT with a tunnel to an address, whatever it is asked for.
func (r *networkRig) proxyTo(addr string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.connects <- req.Method + " " + req.Host
		server, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		client, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = server.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
}

// enqueue enqueues a passcode whose end is an event.
func (r *networkRig) enqueue() string {
	r.t.Helper()
	ticket, err := tasks.Enqueue(r.t.Context(), r.client, danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "a@example.com"}},
	}, tasks.Notify())
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket.ID
}

// SSL_CERT_FILE names the authorities that vendors and receivers are verified with, and
// events go through OUTBOUND_PROXY, which carries TLS that it cannot read.
func TestCompanyNetwork(t *testing.T) {
	t.Parallel()
	r := newNetworkRig(t)
	r.environ["SSL_CERT_FILE"] = r.authority
	w := r.start()
	w.waitLog("worker is ready")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if status, err := r.client.Wait(ctx, r.enqueue()); err != nil || status.Outcome != tasks.Done {
		t.Errorf("a passcode: %+v, %v", status, err)
	}
	select {
	case kind := <-r.delivered:
		if kind != "task.finished" {
			t.Errorf("the event %q arrived", kind)
		}
	case <-ctx.Done():
		t.Fatal("no event arrived")
	}
	if asked := <-r.connects; asked != "CONNECT example.com:443" {
		t.Errorf("the proxy was asked %q", asked)
	}
	if len(r.connects) > 0 {
		t.Errorf("the proxy was also asked %q", <-r.connects)
	}
	w.terminate()
	w.expectEnd(time.Minute, 0)
}

// Without it nothing is sent to a vendor whose certificate is not trusted: the task waits,
// and says why.
func TestAnUntrustedAuthorityGetsNothing(t *testing.T) {
	t.Parallel()
	r := newNetworkRig(t)
	w := r.start()
	w.waitLog("worker is ready")
	id := r.enqueue()
	var status *tasks.Status
	testwait.Eventually(t, time.Minute, "the task is parked", func() bool {
		var err error
		status, err = r.client.Status(t.Context(), id)
		return err == nil && status.State == tasks.Parked
	})
	if !strings.Contains(status.Message, "certificate cannot be trusted") {
		t.Errorf("the task says %q", status.Message)
	}
	if n := r.otp.Calls(danaconnecttest.OpSend); n != 0 {
		t.Errorf("%d passcodes were sent", n)
	}
}
