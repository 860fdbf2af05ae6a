package clients_test

import (
	"net/http"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

// net/http resends a GET if a reused connection breaks, unless the request is marked.
func TestDisableTransportRetrySendsOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mark  func(*http.Request)
		calls int
	}{
		"left to net/http": {func(*http.Request) {}, 3},
		"retry disabled":   {clients.DisableTransportRetry, 2},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				acme := newAcme()
				base := clientstest.Serve(t, acme, "/acme/")
				caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil)
				send := func() error {
					req, err := http.NewRequestWithContext(t.Context(), method, base+"v1/order", nil)
					if err != nil {
						t.Fatal(err)
					}
					tt.mark(req)
					_, err = caller.Do(t.Context(), opOrder, req)
					return err
				}
				if err := send(); err != nil { // leaves a connection to reuse
					t.Fatal(err)
				}
				acme.Inject(sandbox.Fault{Op: opOrder, Drop: true, Times: 1})
				err := send()
				if e, ok := clients.AsError(err); (tt.calls == 2) != (ok && e.Kind == clients.Unknown && !e.NotSent) {
					t.Errorf("error %v", err)
				}
				requests := acme.Requests(opOrder)
				if len(requests) != tt.calls {
					t.Errorf("%d requests, want %d", len(requests), tt.calls)
				}
				for _, r := range requests {
					if len(r.Body) != 0 || r.Header.Get("Transfer-Encoding") != "" ||
						r.Header.Get("Content-Length") != "" {
						t.Errorf("%+v", r.Header)
					}
				}
			})
		}
	}
}
