package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/worker"
)

// Tasks that were parked for a credential do not wait for the end of their
// rest once it works: the rest here is as long as the whole test may take.
func TestParkedTasksAreWokenWhenTheirCredentialWorks(t *testing.T) {
	t.Parallel()
	var works atomic.Bool
	var calls atomic.Int32
	parked := make(chan struct{}, 100)
	r := newRig(t, define("t:parked", broker.Policy{Budget: time.Hour}, func(context.Context, string) (any, error) {
		if works.Load() {
			calls.Add(1)
			return nil, nil
		}
		parked <- struct{}{}
		return nil, &clients.Error{
			Vendor: "test", Kind: clients.Blocked, NotSent: true, Message: "resting", RetryAfter: time.Hour,
			Err: &admission.Blocked{Refused: true, Key: "cred", RetryAfter: time.Hour},
		}
	}))
	r.work(func(c *worker.Config) {
		c.Blockers = func() []broker.Blocker { // what is new in a file is known later
			if !works.Load() {
				return nil
			}
			return []broker.Blocker{
				{Name: "cred", Usable: func(context.Context) bool { return works.Load() }},
				{Name: "other", Usable: func(context.Context) bool { return true }},
			}
		}
	})
	const n = 20
	var ids []string
	for range n {
		ids = append(ids, r.enqueue("t:parked").ID)
	}
	for range n {
		<-parked
	}
	works.Store(true)
	for _, id := range ids {
		if got := r.wait(id); got.Outcome != record.Done || got.Attempts != 1 {
			t.Errorf("record = %+v", got)
		}
	}
	if calls.Load() != n {
		t.Errorf("%d calls, want %d", calls.Load(), n)
	}
	if left, err := r.store.Parked(t.Context(), "otp", "cred"); err != nil || left != 0 {
		t.Errorf("%d still on the list, %v", left, err)
	}
}
