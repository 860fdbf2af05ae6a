package queue

import (
	"math/rand/v2"
	"time"

	"errand.internal/internal/ledger"
)

// Policy is the policy of a task type, as data. A payload's Policy method
// returns it; it may depend on the payload, as the life of a passcode does.
type Policy struct {
	// Queue carries the task and names the group of slots it may take.
	Queue string
	// Budget is how long after it may first run the task is still worth
	// running. When it is spent the task ends: expired if the vendor was never
	// called, failed otherwise.
	Budget time.Duration
	// Attempts is the most counted attempts; 0 means that only the budget ends
	// them.
	Attempts int
	// Redelivery says what an attempt that may have happened means for the task.
	Redelivery Redelivery
	// Intent orders tasks that open and close access for the same subject.
	Intent ledger.Intent
	// AuditSubject is the subject under which an append-only trail keeps what becomes of
	// the task, and an alarm tells if it stays unconfirmed; "" for no trail.
	AuditSubject string
	// Backoff spreads the retries.
	Backoff Backoff
	// Retention is how long record and result are kept after the end (default a day).
	Retention time.Duration
	// KeyTTL is how long a producer's key is remembered (default 7 days).
	KeyTTL time.Duration
}

// Redelivery says what becomes of a task after an attempt that may have
// happened: the answer was lost, or the worker died.
type Redelivery uint8

// The redeliveries. AtMostOnce is the zero value, because it is the one that
// does no harm where nobody has thought about it.
const (
	// AtMostOnce ends the task unknown.
	AtMostOnce Redelivery = iota
	// AtLeastOnce runs it again: a second run does no harm.
	AtLeastOnce
	// Reconciled asks the vendor first, and runs the task again only if the
	// earlier attempt left no trace there.
	Reconciled
)

// Backoff is exponential with full jitter: a random time between 0 and
// min(Max, Base·2ⁿ).
type Backoff struct{ Base, Max time.Duration }

// Defaults of Defaults.
const (
	DefaultRetention = 24 * time.Hour
	DefaultKeyTTL    = 7 * 24 * time.Hour

	// parkFor is how long a parked task rests if nothing says better, parkMax at
	// the most: so long may it take until mended credentials are noticed.
	parkFor = 30 * time.Second
	parkMax = 60 * time.Second

	// lineMax is how long a task that stands in line rests at the most, lineSpread
	// by how much those who come after one another are spread.
	lineMax    = 5 * time.Minute
	lineSpread = 100 * time.Millisecond
)

func (d Policy) withDefaults() Policy {
	if d.Retention <= 0 {
		d.Retention = DefaultRetention
	}
	if d.KeyTTL <= 0 {
		d.KeyTTL = DefaultKeyTTL
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
