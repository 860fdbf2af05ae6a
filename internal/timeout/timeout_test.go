package timeout_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"errand.internal/internal/timeout"
)

type name struct{}

// A call ends at its limit, and at most 50 ms before it, however many begin in between.
func TestCallsEndInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.NewLimit(time.Second)
		var calls sync.WaitGroup
		defer calls.Wait()
		for range 100 {
			began := time.Now()
			parent := context.WithValue(context.Background(), name{}, began)
			ctx, cancel := limit.Context(parent)
			child, cancelChild := context.WithCancel(ctx)
			calls.Go(func() {
				defer cancelChild()
				defer cancel()
				<-child.Done()
				took := time.Since(began)
				if took < 950*time.Millisecond || took > time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Errorf("a call ended after %v with %v", took, ctx.Err())
				}
				if end, ok := ctx.Deadline(); !ok || time.Since(end) != 0 {
					t.Errorf("its deadline was %v ago", time.Since(end))
				}
				if ctx.Value(name{}) != began {
					t.Error("it lost the values of its caller")
				}
			})
			time.Sleep(7 * time.Millisecond)
		}
	})
}

// A caller whose own time is shorter keeps its context.
func TestAShorterTimeIsKept(t *testing.T) {
	t.Parallel()
	parent, cancelParent := context.WithTimeout(context.Background(), time.Minute)
	defer cancelParent()
	ctx, cancel := timeout.NewLimit(time.Hour).Context(parent)
	cancel()
	if ctx != parent || ctx.Err() != nil {
		t.Errorf("got another context, or it was cancelled: %v", ctx.Err())
	}
}

// The end of the caller's context ends a call; that of one call ends no other.
func TestCallsEndWithTheirCaller(t *testing.T) {
	t.Parallel()
	limit := timeout.NewLimit(time.Hour)
	parent, cancelParent := context.WithCancel(context.Background())
	ended, cancelEnded := limit.Context(parent)
	defer cancelEnded()
	_, cancelFirst := limit.Context(context.Background())
	second, cancelSecond := limit.Context(context.Background())
	defer cancelSecond()
	cancelFirst()
	cancelParent()
	if !errors.Is(ended.Err(), context.Canceled) || second.Err() != nil {
		t.Errorf("the call of the cancelled caller: %v, another: %v", ended.Err(), second.Err())
	}
}
