package admission

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// retryShare is what a first try earns: four of them pay for a retry, so that a fifth
	// of the calls are retries.
	retryShare = 0.25
	// retryRate is what a second earns, so that retries go on where nothing new comes.
	retryRate = 1.0
	// retrySavings is the most that can be earned in advance.
	retrySavings = 5.0
)

// retryBudget keeps the retries of a process, while the vendor fails, to a fifth of its
// calls, or one a second. The zero budget is empty.
type retryBudget struct {
	mu    sync.Mutex
	saved float64
	last  time.Time
}

// spend pays for a call and reports whether it may be made.
func (b *retryBudget) spend(now time.Time, retry bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.saved += max(now.Sub(b.last).Seconds(), 0) * retryRate
	}
	b.last = now
	if !retry {
		b.saved += retryShare
	}
	b.saved = min(b.saved, retrySavings)
	if !retry {
		return true
	}
	if b.saved < 1 {
		return false
	}
	b.saved--
	return true
}

// RetriesName names the retry budget, as errors and metrics do.
func (o *Outage) RetriesName() string {
	return o.name + ":retries"
}

// retryBlocked is the error of a retry that there is no budget for. Retries come back at
// different times.
func (o *Outage) retryBlocked() *Blocked {
	return &Blocked{
		Key:        o.RetriesName(),
		Reason:     "calls of " + o.name + " fail, so only a fifth of them may be retries",
		RetryAfter: 2*time.Second + rand.N(8*time.Second),
	}
}
