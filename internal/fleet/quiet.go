package fleet

import (
	"context"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
)

const (
	// QuietPhase is how long nothing happens in long runs: longer than
	// what a connection, a token or a wait of the worker's may outlive idle.
	QuietPhase = 35 * time.Second
	// promptly is within what time a task ends that meets idle workers.
	promptly = 2 * time.Second
	// retryAfter is what the vendor asks for, and retriedBy when the next call has come
	// at the latest.
	retryAfter = 3 * time.Second
	retriedBy  = 5 * time.Second
)

// Quiet lets d pass without a task and asserts that the workers are as quick as
// before: a task ends within promptly, and one that the vendor puts off comes back
// when the vendor says.
func (f *Fixture) Quiet(d time.Duration, k *Kind) {
	f.tb.Helper()
	k.Engine.Clear(k.Op)
	Elapse(f.tb, d)
	first := f.probe(k)
	if took := first.Ended.Sub(first.Created); took > promptly || len(first.History) != 1 {
		f.tb.Errorf("after %v without a task, one ended after %v: %s", d, took, describe(first))
	}
	k.Inject(sandbox.Fault{Status: 429, RetryAfter: retryAfter.String()[:1], Times: 1})
	second := f.probe(k)
	if took := second.Ended.Sub(second.Created); took < retryAfter || took > retriedBy || len(second.History) != 2 {
		f.tb.Errorf("a task that was put off for %v ended after %v: %s", retryAfter, took, describe(second))
	}
	f.tb.Logf(
		"after %v without a task one took %v, and one that was put off for %v took %v",
		d,
		first.Ended.Sub(first.Created),
		retryAfter,
		second.Ended.Sub(second.Created),
	)
}

// probe runs a task, which must be done, and returns its end.
func (f *Fixture) probe(k *Kind) *tasks.Status {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(f.tb.Context(), stopTimeout)
	defer cancel()
	status, err := f.Client.Wait(ctx, f.EnqueueNew(k))
	if err != nil {
		f.tb.Fatalf("wait for a task after a quiet phase: %v", err)
	}
	if status.Outcome != tasks.Done {
		f.tb.Errorf("a task after a quiet phase: %s", describe(status))
	}
	return status
}
