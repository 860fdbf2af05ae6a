// Package timeout bounds calls in time. Calls that begin shortly after each other end at the
// same time at the latest, so that they share a timer. One each, as of context.WithTimeout,
// takes a microsecond.
package timeout

import (
	"context"
	"sync"
	"time"
)

// share is how much earlier than its limit a call may end, because it shares the timer of one
// that has begun before it.
const share = 50 * time.Millisecond

// Limit is how long calls may take, or up to 50 ms less. Safe for concurrent use.
type Limit struct {
	limit time.Duration

	mu     sync.Mutex
	begun  time.Time
	latest context.Context
	cancel context.CancelFunc // of latest; nobody calls it, because latest may have many users
}

// NewLimit returns a Limit.
func NewLimit(limit time.Duration) *Limit {
	return &Limit{limit: limit}
}

// Context returns a context with the values of parent that ends with it, and once the time is
// over; parent itself if it ends in time. The caller calls cancel when it needs the context no
// more.
func (l *Limit) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	if end, ok := parent.Deadline(); ok && time.Until(end) <= l.limit {
		return parent, func() {}
	}
	if parent.Done() != nil {
		return context.WithTimeout(parent, l.limit)
	}
	return bounded{parent, l.end()}, func() {}
}

// String returns the limit, such as 2.8s.
func (l *Limit) String() string {
	return l.limit.String()
}

// end returns a context that ends in time.
func (l *Limit) end() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.latest == nil || now.Sub(l.begun) >= share {
		l.begun = now
		l.latest, l.cancel = context.WithDeadline(context.Background(), now.Add(l.limit))
	}
	return l.latest
}

// bounded has the values of a context that does not end, and ends with another.
type bounded struct {
	context.Context
	end context.Context
}

// Deadline implements context.Context.
func (c bounded) Deadline() (time.Time, bool) { return c.end.Deadline() }

// Done implements context.Context.
func (c bounded) Done() <-chan struct{} { return c.end.Done() }

// Err implements context.Context.
func (c bounded) Err() error { return c.end.Err() }

// Value implements context.Context. Package context asks the one that ends for itself.
func (c bounded) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.end.Value(key)
}
