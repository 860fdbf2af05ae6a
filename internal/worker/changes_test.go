package worker_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// A task that is refused in the same way over and over has one entry for it, in its history
// and in the audit log; another answer makes another entry.
func TestTheSameRefusalIsKeptOnce(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t)
	r.define("t:close", broker.Policy{AuditSubject: "u-1"}, func(context.Context, string) (any, error) {
		e := &clients.Error{Vendor: "shop", Op: "close", RetryAfter: time.Millisecond}
		switch n := calls.Add(1); {
		case n <= 4:
			e.Kind = clients.Credentials
			e.Status = 403
		case n <= 6:
			e.Kind = clients.Blocked
			e.Status = 429
		case n == 7:
			e.Kind = clients.Credentials
			e.Status = 403
		default:
			return nil, nil
		}
		return nil, e
	})
	r.work()
	got := r.wait(r.enqueue("t:close").ID)
	var statuses []int
	for _, a := range got.History {
		statuses = append(statuses, a.Status)
	}
	if got.Outcome != record.Done || calls.Load() != 8 || !slices.Equal(statuses, []int{403, 429, 403, 0}) {
		t.Errorf("%s after %d calls with the history %v", got.Outcome, calls.Load(), statuses)
	}
	rdb := r.redis.Client()
	var events []any
	for _, key := range rdb.Keys(t.Context(), "*:audit").Val() {
		for _, m := range rdb.XRange(t.Context(), key, "-", "+").Val() {
			events = append(events, m.Values["event"])
		}
	}
	if want := []any{"asked", "attempt", "attempt", "attempt", "ended"}; !slices.Equal(events, want) {
		t.Errorf("the audit log has %v, want %v", events, want)
	}
}
