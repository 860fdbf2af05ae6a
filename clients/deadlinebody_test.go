package clients_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
)

// A process is frozen when it has a connection and is about to write: when it
// wakes up after the call's time, nothing leaves any more.
func TestNothingLeavesTooLate(t *testing.T) {
	t.Parallel()
	arrived := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			arrived <- string(body)
		}
	}))
	defer server.Close()
	const call = 50 * time.Millisecond
	caller := clients.NewCaller("v", clients.Timeouts{Call: call}, nil, nil)
	send := func(body string, frozen bool) error {
		ctx, _ := clients.WithAttempt(t.Context(), func() {
			if frozen {
				<-time.After(2 * call)
			}
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_, err = caller.Do(ctx, "op", req)
		return err
	}
	if e, ok := clients.AsError(send("late", true)); !ok || e.Kind != clients.Unknown && e.Kind != clients.Temporary {
		t.Errorf("the late call: %v", e)
	}
	server.CloseClientConnections() // whatever was written has arrived
	for range 5 {                   // a slow machine may take longer than the call's time
		if send("in time", false) == nil {
			break
		}
	}
	if got := <-arrived; got != "in time" {
		t.Errorf("%q arrived", got)
	}
}
