package clients_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

// net/http resends what it takes for idempotent if a reused connection breaks. The
// Caller lets it only if the context says that the call may happen twice.
func TestOnlyRepeatableRequestsAreResent(t *testing.T) {
	t.Parallel()
	type request struct {
		method string
		key    bool // has an Idempotency-Key
		body   string
	}
	undeclared := func(ctx context.Context) context.Context { return ctx }
	once := func(ctx context.Context) context.Context { return clients.WithRepeatable(ctx, false) }
	repeatable := func(ctx context.Context) context.Context { return clients.WithRepeatable(ctx, true) }
	for _, r := range []request{
		{method: http.MethodGet},
		{method: http.MethodHead},
		{method: http.MethodOptions},
		{method: http.MethodGet, body: "filter"},
		{method: http.MethodPost, key: true},
		{method: http.MethodPost, key: true, body: "order"},
	} {
		for name, declare := range map[string]func(context.Context) context.Context{
			"undeclared": undeclared, "once": once, "repeatable": repeatable,
		} {
			t.Run(name+" "+r.method+" "+r.body, func(t *testing.T) {
				t.Parallel()
				acme := newAcme()
				base := clientstest.Serve(t, acme, "/acme/")
				caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil)
				send := func() error {
					ctx := declare(t.Context())
					var body io.Reader
					if r.body != "" {
						body = strings.NewReader(r.body)
					}
					req, err := http.NewRequestWithContext(ctx, r.method, base+"v1/order", body)
					if err != nil {
						t.Fatal(err)
					}
					if r.key {
						req.Header["Idempotency-Key"] = []string{"k"}
					}
					_, err = caller.Do(ctx, opOrder, req)
					return err
				}
				if err := send(); err != nil { // leaves a connection to reuse
					t.Fatal(err)
				}
				acme.Inject(sandbox.Fault{Op: opOrder, Drop: true, Times: 1})
				want := 2
				if err := send(); name == "repeatable" {
					want = 3
					if err != nil {
						t.Error(err)
					}
				} else if e, ok := clients.AsError(err); !ok || e.Kind != clients.Unknown || e.NotSent {
					t.Errorf("error %v, want one of kind unknown", err)
				}
				requests := acme.Requests(opOrder)
				if len(requests) != want {
					t.Errorf("%d requests, want %d", len(requests), want)
				}
				for _, got := range requests {
					if string(got.Body) != r.body || got.Header.Get("Transfer-Encoding") != "" {
						t.Errorf("sent %q, %+v", got.Body, got.Header)
					}
				}
			})
		}
	}
}
