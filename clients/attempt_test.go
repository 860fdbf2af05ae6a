package clients_test

import (
	"context"
	"net/http"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

func TestAttemptOfARefusedCallIsNotSent(t *testing.T) {
	t.Parallel()
	ready := 0
	ctx, attempt := clients.WithAttempt(t.Context(), func() { ready++ })
	base := clientstest.Serve(t, newShop(), "/shop/")
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := order(t, base, clients.Timeouts{})(ctx); err == nil {
		t.Fatal("the cancelled call succeeded")
	}
	if attempt.Sent() || ready != 0 {
		t.Errorf("sent %v, ready %d times; want false, 0", attempt.Sent(), ready)
	}
}

func TestAttemptMarksBeforeTheRequestLeaves(t *testing.T) {
	t.Parallel()
	shop := newShop()
	var callsAtMark []int
	ctx, attempt := clients.WithAttempt(t.Context(), func() { callsAtMark = append(callsAtMark, shop.Calls(opOrder)) })
	call := order(t, clientstest.Serve(t, shop, "/shop/"), clients.Timeouts{})
	for range 2 {
		if err := call(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if !attempt.Sent() || len(callsAtMark) != 1 || callsAtMark[0] != 0 {
		t.Errorf("sent %v, marks %v; want true and one mark before the first call", attempt.Sent(), callsAtMark)
	}
}

func TestAttemptIsSentWhileTheVendorWorks(t *testing.T) {
	t.Parallel()
	shop := newShop()
	gate := shop.HoldAnswer(opOrder)
	ctx, attempt := clients.WithAttempt(t.Context(), nil)
	call := order(t, clientstest.Serve(t, shop, "/shop/"), clients.Timeouts{})
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	if err := shop.WaitEffects(clientstest.Within(t), opOrder, 1); err != nil {
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

// A call that is cancelled between the connection and the first byte returns
// while net/http may still be writing.
func TestAttemptCancelledWhileWritingMayHaveLeft(t *testing.T) {
	t.Parallel()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		ctx, attempt := clients.WithAttempt(ctx, cancel)
		shop := newShop()
		shop.Inject(sandbox.Fault{Op: opOrder, Status: http.StatusServiceUnavailable})
		err := order(t, clientstest.Serve(t, shop, "/shop/"), clients.Timeouts{})(ctx)
		e, ok := clients.AsError(err)
		if !ok {
			t.Fatalf("error %v", err)
		}
		if e.Status == 0 && (e.NotSent || e.Kind != clients.Unknown || !attempt.Sent()) {
			t.Errorf(
				"NotSent %v, kind %v, attempt sent %v: the request may have left",
				e.NotSent,
				e.Kind,
				attempt.Sent(),
			)
		}
	}
}
