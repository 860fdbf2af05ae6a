package clients

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Attempt watches the calls made under one context: it tells whether any byte
// of a request may have left, also when the code in between panicked or hung.
type Attempt struct {
	// Task and Until are whose attempt it is, and when that task's time is up: with
	// them a call that must wait for a limit keeps its place in line. Underway: a
	// call of the same task was let go just before. They are set before the first
	// call.
	Task     string
	Until    time.Time
	Underway bool

	letGo  atomic.Bool // a limited call of the attempt was
	sent   atomic.Bool
	once   sync.Once
	onSend func()
}

type attemptKey struct{}

// WithAttempt returns a context whose calls report to the Attempt. onSend, if
// not nil, runs once, when the first connection is ready to carry a request.
// Token requests do not count: they run under a context of their own.
func WithAttempt(ctx context.Context, onSend func()) (context.Context, *Attempt) {
	a := &Attempt{onSend: onSend}
	return context.WithValue(ctx, attemptKey{}, a), a
}

// Sent reports whether a request may have left.
func (a *Attempt) Sent() bool {
	return a.sent.Load()
}

func attemptFrom(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}
