package clients_test

import (
	"context"
	"net/http"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

func TestAttemptIsNotSentIfTheCallIsCancelledBefore(t *testing.T) {
	t.Parallel()
	ready := 0
	ctx, attempt := clients.WithAttempt(t.Context(), func() { ready++ })
	base := clientstest.Serve(t, newAcme(), "/acme/")
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := order(t, base, clients.Timeouts{})(ctx); err == nil {
		t.Fatal("the cancelled call succeeded")
	}
	if attempt.Sent() || ready != 0 {
		t.Errorf("sent %v, ready %d times; want false, 0", attempt.Sent(), ready)
	}
}

func TestAttemptCallsOnSendBeforeTheRequestIsSent(t *testing.T) {
	t.Parallel()
	acme := newAcme()
	var callsOnSend []int
	ctx, attempt := clients.WithAttempt(t.Context(), func() {
		callsOnSend = append(callsOnSend, acme.Calls(opOrder))
	})
	call := order(t, clientstest.Serve(t, acme, "/acme/"), clients.Timeouts{})
	for range 2 {
		if err := call(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if !attempt.Sent() || len(callsOnSend) != 1 || callsOnSend[0] != 0 {
		t.Errorf("sent %v, onSend ran after %v calls; want true and once, before the first call", attempt.Sent(), callsOnSend)
	}
}

func TestAttemptIsSentWhileTheVendorWorks(t *testing.T) {
	t.Parallel()
	acme := newAcme()
	gate := acme.HoldAnswer(opOrder)
	ctx, attempt := clients.WithAttempt(t.Context(), nil)
	call := order(t, clientstest.Serve(t, acme, "/acme/"), clients.Timeouts{})
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	if err := acme.WaitEffects(clientstest.Within(t), opOrder, 1); err != nil {
		t.Fatal(err)
	}
	if !attempt.Sent() {
		t.Error("the vendor works on it, but Sent is false")
	}
	gate.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A call that is cancelled between the connection and the first byte returns while
// net/http may still be writing.
func TestAttemptMayBeSentIfCancelledWhileWriting(t *testing.T) {
	t.Parallel()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		ctx, attempt := clients.WithAttempt(ctx, cancel)
		acme := newAcme()
		acme.Inject(sandbox.Fault{Op: opOrder, Status: http.StatusServiceUnavailable})
		err := order(t, clientstest.Serve(t, acme, "/acme/"), clients.Timeouts{})(ctx)
		e, ok := clients.AsError(err)
		if !ok {
			t.Fatalf("error %v", err)
		}
		if e.Status == 0 && (e.NotSent || e.Kind != clients.Unknown || !attempt.Sent()) {
			t.Errorf(
				"NotSent %v, kind %v, attempt sent %v: the request may have been sent",
				e.NotSent,
				e.Kind,
				attempt.Sent(),
			)
		}
	}
}
