package queue

import (
	"math/rand/v2"
	"time"

	"errand.internal/internal/ledger"
)

// Defaults is the policy of a task type, as data. A payload's Defaults method
// returns it; it may depend on the payload, as the life of a passcode does.
type Defaults struct {
	// Queue carries the task and names the group of slots it may take.
	Queue string
	// Budget is how long after it may first run the task is still worth
	// running. When it is spent the task ends: expired if the vendor was never
	// called, failed otherwise.
	Budget time.Duration
	// Attempts is the most counted attempts; 0 means that only the budget ends
	// them.
	Attempts int
	// Repeatable: a second run does no harm, so an attempt that may have
	// happened is simply repeated. Otherwise it ends the task as unknown.
	Repeatable bool
	// Intent orders tasks that open and close access for the same subject.
	Intent ledger.Intent
	// Trail is the subject under which an append-only trail keeps what becomes of
	// the task, and an alarm tells if it stays unconfirmed; "" for no trail.
	Trail string
	// Backoff spreads the retries.
	Backoff Backoff
	// Keep is how long record and result are kept after the end (default a day).
	Keep time.Duration
	// KeyLife is how long a producer's key is remembered (default 7 days).
	KeyLife time.Duration
}

// Backoff is exponential with full jitter: a random time between 0 and
// min(Max, Base·2ⁿ).
type Backoff struct{ Base, Max time.Duration }

// Defaults of Defaults.
const (
	DefaultKeep    = 24 * time.Hour
	DefaultKeyLife = 7 * 24 * time.Hour

	// parkFor is how long a parked task rests if nothing says better, parkMax at
	// the most: so long may it take until mended credentials are noticed.
	parkFor = 30 * time.Second
	parkMax = 60 * time.Second

	// lineMax is how long a task that stands in line rests at the most, lineSpread
	// by how much those who come after one another are spread.
	lineMax    = 5 * time.Minute
	lineSpread = 100 * time.Millisecond
)

func (d Defaults) withDefaults() Defaults {
	if d.Keep <= 0 {
		d.Keep = DefaultKeep
	}
	if d.KeyLife <= 0 {
		d.KeyLife = DefaultKeyLife
	}
	if d.Backoff.Base <= 0 {
		d.Backoff.Base = time.Second
	}
	if d.Backoff.Max <= 0 {
		d.Backoff.Max = 5 * time.Minute
	}
	return d
}

// after returns the delay after the n-th counted attempt (from 0). random is
// in [0,1).
func (b Backoff) after(n int, random float64) time.Duration {
	ceiling := b.Max
	if n < 32 {
		ceiling = min(b.Max, b.Base<<n)
	}
	if ceiling < b.Base { // overflow
		ceiling = b.Max
	}
	return time.Duration(random * float64(ceiling))
}

func jitter() float64 { return rand.Float64() }
