package clients_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
)

// A process that is frozen between getting a connection and writing must send
// nothing when it wakes up after the call's deadline.
func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	t.Parallel()
	arrived := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			arrived <- string(body)
		}
	}))
	defer server.Close()
	send := func(body string, timeouts clients.Timeouts, onSend func()) error {
		ctx, _ := clients.WithAttempt(t.Context(), onSend)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_, err = clients.NewCaller("v", timeouts, nil, nil).Do(ctx, "op", req)
		return err
	}
	const call = 50 * time.Millisecond
	err := send("late", clients.Timeouts{Call: call}, func() {
		// Starting during the call, this ends after the call's deadline.
		frozen, cancel := context.WithTimeout(context.Background(), call)
		defer cancel()
		<-frozen.Done()
	})
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.Unknown && e.Kind != clients.Temporary {
		t.Errorf("the late call: %v", err)
	}
	server.CloseClientConnections() // all that was written has arrived
	if err := send("in time", clients.Timeouts{}, nil); err != nil {
		t.Fatal(err)
	}
	if got := <-arrived; got != "in time" {
		t.Errorf("%q arrived", got)
	}
}
