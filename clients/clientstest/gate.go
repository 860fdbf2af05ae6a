package clientstest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// Gate is a tokens.Gate that lets everybody in and keeps the verdicts.
type Gate struct {
	// Name tells it from another in messages.
	Name string
	// Err refuses everybody, if set.
	Err error

	mu       sync.Mutex
	verdicts []tokens.AuthResult
	entered  int
}

// Enter implements tokens.Gate.
func (g *Gate) Enter(ctx context.Context) (tokens.Pass, error) {
	if g.Err != nil {
		return nil, g.Err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entered++
	return g, nil
}

// Report implements tokens.Pass.
func (g *Gate) Report(_ context.Context, v tokens.AuthResult) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verdicts = append(g.verdicts, v)
}

// Verdicts are those reported so far.
func (g *Gate) Verdicts() []tokens.AuthResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]tokens.AuthResult(nil), g.verdicts...)
}

// Expect checks that exactly these verdicts were reported, one per entry.
func (g *Gate) Expect(t *testing.T, want ...tokens.AuthResult) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verdicts) != len(want) || g.entered != len(want) {
		t.Fatalf(
			"%s: %d entries, verdicts %v, want %v",
			g.Name,
			g.entered,
			g.verdicts,
			want,
		)
	}
	for i := range want {
		if g.verdicts[i] != want[i] {
			t.Errorf("%s: verdict %d is %v, want %v", g.Name, i, g.verdicts[i], want[i])
		}
	}
}

// Refusal is how a gate keeps a call in, and what the client must make of it.
type Refusal struct {
	Name string
	Err  error

	kind  clients.Kind
	wait  time.Duration
	cause error // to be found in the chain
}

// Refusals are all the ways in which a gate keeps a call in.
func Refusals() []Refusal {
	cooling := &tokens.CoolingError{Profile: "profile", RetryAfter: 30 * time.Second}
	down := &tokens.UnavailableError{
		Profile:    "profile",
		RetryAfter: 2 * time.Second,
		Err:        errors.New(prose),
	}
	return []Refusal{
		{"cooling", cooling, clients.Credentials, 30 * time.Second, cooling},
		{"unavailable", down, clients.Temporary, 2 * time.Second, down},
		{"cancelled", context.Canceled, clients.Temporary, 0, context.Canceled},
		{
			"out of time",
			context.DeadlineExceeded,
			clients.Temporary,
			0,
			context.DeadlineExceeded,
		},
		{"other", errors.New(prose), clients.Temporary, 0, nil},
	}
}

// Check checks the error of a call that the gate kept in, and returns it.
func (r Refusal) Check(t *testing.T, err error) *clients.Error {
	t.Helper()
	e := expectKind(t, err, r.kind)
	if !e.NotSent || e.RetryAfter != r.wait {
		t.Errorf("NotSent %v, RetryAfter %v, want %v", e.NotSent, e.RetryAfter, r.wait)
	}
	if r.cause != nil && !errors.Is(err, r.cause) {
		t.Errorf("the cause %T is not in the chain", r.cause)
	}
	if strings.Contains(err.Error(), prose) {
		t.Errorf("error %q shows a text that is not ours", err)
	}
	return e
}
