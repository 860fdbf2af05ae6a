package clientstest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
)

// Gate is a admission.Gate that admits every call and records the verdicts.
type Gate struct {
	// Name identifies the gate in failure messages.
	Name string
	// Err, if set, refuses every call.
	Err error

	mu       sync.Mutex
	verdicts []admission.Verdict
	entered  int
}

// Acquire implements admission.Gate.
func (g *Gate) Acquire(ctx context.Context) (admission.Permit, error) {
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

// Done implements admission.Permit.
func (g *Gate) Done(_ context.Context, r admission.Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verdicts = append(g.verdicts, r.Verdict)
}

// Verdicts returns the verdicts reported so far.
func (g *Gate) Verdicts() []admission.Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.verdicts)
}

// Expect checks that exactly these verdicts were reported, one per admitted call.
func (g *Gate) Expect(t *testing.T, want ...admission.Verdict) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verdicts) != len(want) || g.entered != len(want) {
		t.Fatalf("%s: %d calls admitted, verdicts %v, want %v", g.Name, g.entered, g.verdicts, want)
	}
	for i := range want {
		if g.verdicts[i] != want[i] {
			t.Errorf("%s: verdict %d is %v, want %v", g.Name, i, g.verdicts[i], want[i])
		}
	}
}

// Refusal is an error with which a gate refuses a call, and what the client must
// make of it.
type Refusal struct {
	Name string
	Err  error

	kind  clients.Kind
	wait  time.Duration
	cause error // in the error's chain
}

// Refusals returns every way in which a gate can refuse a call.
func Refusals() []Refusal {
	cooling := &admission.Blocked{Refused: true, Key: "profile", RetryAfter: 30 * time.Second}
	down := &admission.Blocked{
		Key:        "profile",
		Reason:     "its login is unavailable",
		RetryAfter: 2 * time.Second,
		Err:        errors.New(prose),
	}
	return []Refusal{
		{
			Name:  "cooling",
			Err:   cooling,
			kind:  clients.Blocked,
			wait:  30 * time.Second,
			cause: cooling,
		},
		{
			Name:  "unavailable",
			Err:   down,
			kind:  clients.Blocked,
			wait:  2 * time.Second,
			cause: down,
		},
		{
			Name:  "cancelled",
			Err:   context.Canceled,
			kind:  clients.Temporary,
			cause: context.Canceled,
		},
		{
			Name:  "out of time",
			Err:   context.DeadlineExceeded,
			kind:  clients.Temporary,
			cause: context.DeadlineExceeded,
		},
		{
			Name: "other",
			Err:  errors.New(prose),
			kind: clients.Temporary,
		},
	}
}

// Check checks the error of a call that the gate refused, and returns it.
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
		t.Errorf("error %q shows the text of the cause", err)
	}
	return e
}
