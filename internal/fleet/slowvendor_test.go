package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
)

// otpWaits sends n passcodes, one after the other, and returns how long each took from the
// producer to the vendor, the longest last.
func (f *Fixture) otpWaits(n int) []time.Duration {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(f.tb.Context(), waitLimit)
	defer cancel()
	waits := make([]time.Duration, n)
	var ids []string
	for i := range waits {
		arrived := f.Passcodes.Calls() + 1
		began := time.Now()
		ids = append(ids, f.Enqueue(f.Passcodes.New()))
		if err := f.Passcodes.WaitCalls(ctx, arrived); err != nil {
			f.tb.Fatal(err)
		}
		waits[i] = time.Since(began)
	}
	f.Wait(waitLimit, ids)
	f.CheckDone(ids)
	slices.Sort(waits)
	return waits
}

// A vendor that takes 5 s for an answer, and whose queue is long, delays no passcode: one
// vendor never has another's slots.
func TestASlowVendorDelaysNoPasscode(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: map[string]string{"WORKER_QUEUES": "otp=4,dckap=4"}})
	f.Start(1)
	f.Wait(waitLimit, f.EnqueueMany(1, f.PipeCalls)) // its token is proven
	n := Size(40, 400)
	f.otpWaits(5)
	alone := f.otpWaits(n)

	answered, called := f.PipeCalls.Engine.Answered(f.PipeCalls.Op), f.PipeCalls.Calls()
	f.PipeCalls.Inject(sandbox.Fault{Delay: 5 * time.Second})
	slow := f.EnqueueMany(Size(20, 200), f.PipeCalls)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if err := f.PipeCalls.WaitCalls(ctx, called+4); err != nil {
		t.Fatal(err)
	}
	beside := f.otpWaits(n)
	done := f.PipeCalls.Engine.Answered(f.PipeCalls.Op) - answered
	f.PipeCalls.Engine.Clear(f.PipeCalls.Op)

	p95 := n * 95 / 100
	t.Logf("p95 %s alone, %s beside a slow vendor", alone[p95], beside[p95])
	// The machine may be slow as well: then what counts is how it was without the vendor.
	if limit := max(200*time.Millisecond, 3*alone[p95]); beside[p95] > limit {
		t.Errorf("95 %% of the passcodes reach their vendor within %s, want %s", beside[p95], limit)
	}
	if done > len(slow)-4 {
		t.Errorf("%d of %d calls of the slow vendor were over, so nothing is shown", done, len(slow))
	}
	f.Wait(2*waitLimit, slow)
	f.StopAll()
}
