package admission

import (
	"context"
	"time"
)

// Request is a call that wants to be admitted.
type Request struct {
	// Task keeps the caller's place in a queue; "" keeps none.
	Task string
	// Underway says that a call of the task was admitted just before, and this is its
	// next one.
	Underway bool
	// MaxWait is how long the caller may wait here: a short moment when it comes for the
	// first time, all of it when its turn has come.
	MaxWait time.Duration
	// Retry says that the task was attempted before.
	Retry bool
	// Repeatable says that the call may happen twice.
	Repeatable bool
	// Connect, if not nil, connects to the vendor and sends nothing.
	Connect func(ctx context.Context) error
	// Deadline is how much time the task has left. It gets no place in a queue beyond it.
	Deadline time.Duration
}

// Verdict is what a call has shown about the key that admitted it.
type Verdict uint8

// The verdicts.
const (
	// Inconclusive means that the answer, or its absence, shows nothing.
	Inconclusive Verdict = iota
	// Accepted means that the vendor takes calls.
	Accepted
	// Refused means that the vendor refuses what the key names.
	Refused
	// Failed means a transport fault or a 5xx: the vendor is in trouble.
	Failed
	// Exhausted means that the account's calls are used up (429).
	Exhausted
	// Undecided means that the caller has to read the answer first; it says what that has
	// shown with Account.Conclude.
	Undecided
)

// Result is how an admitted call ended.
type Result struct {
	Verdict Verdict
	// RetryAfter is the vendor's own word on when to come back, 0 if it gave none.
	RetryAfter time.Duration
}

// Permit is the permission to make one call. Done must be called exactly once, when the
// call has ended; what it has to write gets through even if the task's own time is up.
type Permit interface {
	Done(ctx context.Context, r Result)
}
