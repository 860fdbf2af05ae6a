package anna_test

import (
	"context"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
)

func TestSharedChecks(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		t.Run(o.op, func(t *testing.T) {
			t.Parallel()
			clientstest.Check(t, clientstest.Subject{
				Op:         o.op,
				Mount:      mount,
				New:        func(*testing.T) clientstest.Sandbox { return newSandbox(annatest.Options{}) },
				Unreadable: clients.Unknown,
				Canaries:   canaries,
				Call: func(t *testing.T, baseURL string, limits clients.Timeouts) func(context.Context) error {
					c := newClient(t, config(baseURL), &source{}, limits)
					return func(ctx context.Context) error { return o.run(ctx, c) }
				},
			})
		})
	}
}

// The login runs the same checks, but for the bodies: an object without a token
// is a refusal there, which TestLoginAnswers checks.
func TestSharedChecksOfTheLogin(t *testing.T) {
	t.Parallel()
	subject := clientstest.Subject{
		Op:       annatest.OpToken,
		Mount:    mount,
		New:      func(*testing.T) clientstest.Sandbox { return newSandbox(annatest.Options{}) },
		Canaries: canaries,
		Call: func(t *testing.T, baseURL string, limits clients.Timeouts) func(context.Context) error {
			l, err := anna.NewLogin(config(baseURL), clients.NewCaller("anna", limits, nil, nil))
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) error {
				_, err := l.Fetch(ctx)
				return clientstest.AsCredentials(annatest.OpToken, err)
			}
		},
	}
	t.Run("statuses", func(t *testing.T) { t.Parallel(); clientstest.Statuses(t, subject) })
	t.Run("transport", func(t *testing.T) { t.Parallel(); clientstest.Transport(t, subject) })
	t.Run("leaks", func(t *testing.T) { t.Parallel(); clientstest.Leaks(t, subject) })
}
