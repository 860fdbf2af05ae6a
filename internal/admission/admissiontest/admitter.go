// Package admissiontest has a double of what admits the calls of an account.
package admissiontest

import (
	"context"
	"sync"
	"testing"

	"errand.internal/internal/admission"
)

// Admitter implements clients.Admitter. It admits every call, and counts the answers whose calls
// ended Undecided and of which the client has not said yet what they show.
type Admitter struct {
	mu        sync.Mutex
	undecided int
	open      int
}

// Acquire implements clients.Admitter.
func (a *Admitter) Acquire(ctx context.Context, _ admission.Request) (admission.Permit, error) {
	return a, ctx.Err()
}

// Done implements admission.Permit.
func (a *Admitter) Done(_ context.Context, r admission.Result) {
	if r.Verdict == admission.Undecided {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.undecided++
		a.open++
	}
}

// Conclude is what a client's ReportRefusal calls.
func (a *Admitter) Conclude(context.Context, string, bool) *admission.Blocked {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = 0
	return nil
}

// ExpectConcluded checks that n answers were Undecided at first, and that the client has
// said of the last one what it shows.
func (a *Admitter) ExpectConcluded(t *testing.T, n int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.undecided != n || a.open != 0 {
		t.Errorf("%d answers were undecided, want %d; of %d nobody has said what they show", a.undecided, n, a.open)
	}
}
