package broker

import (
	"math/rand/v2"
	"time"
)

// Policy is the policy of a task type, as data. A payload's Policy method returns
// it; it may depend on the payload, as the life of a passcode does.
type Policy struct {
	// Queue carries the task and names the group of slots it may take.
	Queue string
	// Budget is how long after it may first run the task is still worth running.
	// When it is spent the task ends: expired if the vendor was never called, failed
	// otherwise.
	Budget time.Duration
	// Delivery is how long before the end of its budget a task must run to be of use: what
	// it sends takes that long to arrive, or a tenth of its usable time if that is less.
	// With less left it ends as if its time were up.
	Delivery time.Duration
	// Attempts is the most counted attempts; 0 means that only the budget ends them.
	Attempts int
	// Redelivery says what an attempt that may have happened means for the task.
	Redelivery Redelivery
	// Intent orders tasks that open and close access for the same subject.
	Intent Intent
	// AuditSubject is the subject under which the audit log keeps what becomes of the
	// task, and an alert is sent if it stays unconfirmed; "" for no audit log.
	AuditSubject string
	// Subjects are whom the task is about, such as a recipient or a user, as the caller
	// wrote them. An operator finds the task by each of the first record.MaxSubjects; Redis
	// has a digest of each only.
	Subjects []string
	// VendorIDs are IDs of the vendor's that the payload names. The task is found by them
	// as by those in its result.
	VendorIDs []string
	// Backoff spreads the retries.
	Backoff Backoff
	// Retention is how long the result is kept after the end (default a day).
	Retention time.Duration
	// KeyTTL is how long after the end a producer's key is remembered (default 7
	// days).
	KeyTTL time.Duration
}

// Redelivery says what becomes of a task after an attempt that may have happened:
// the answer was lost, or the worker died.
type Redelivery uint8

// The redeliveries. AtMostOnce is the zero value, because it is the one that does no
// harm where nobody has thought about it.
const (
	// AtMostOnce ends the task unknown.
	AtMostOnce Redelivery = iota
	// AtLeastOnce runs it again: a second run does no harm.
	AtLeastOnce
	// Reconciled asks the vendor first, and runs the task again only if the earlier
	// attempt left no trace there.
	Reconciled
)

// Intent says that a task opens or closes something, such as a user's access. Tasks
// with the same subject in the same queue never run at once; one that opens and was
// enqueued before one that closes had started is superseded.
type Intent struct {
	// Subject is empty for tasks without an intent.
	Subject string
	Role    Role
}

// Role is what a task does to its subject.
type Role string

// The roles.
const (
	Opens  Role = "opens"
	Closes Role = "closes"
)

// Backoff is exponential with full jitter: a random time between 0 and
// min(Max, Base·2ⁿ).
type Backoff struct {
	Base time.Duration
	Max  time.Duration
}

// The defaults of a Policy.
const (
	// DefaultRetention is how long a result is kept.
	DefaultRetention = 24 * time.Hour
	// DefaultKeyTTL is how long a producer's key is remembered.
	DefaultKeyTTL = 7 * 24 * time.Hour

	defaultBackoffBase = time.Second
	defaultBackoffMax  = 5 * time.Minute
)

// WithDefaults returns the policy with its defaults filled in.
func (p Policy) WithDefaults() Policy {
	if p.Retention <= 0 {
		p.Retention = DefaultRetention
	}
	if p.KeyTTL <= 0 {
		p.KeyTTL = DefaultKeyTTL
	}
	if p.Backoff.Base <= 0 {
		p.Backoff.Base = defaultBackoffBase
	}
	if p.Backoff.Max <= 0 {
		p.Backoff.Max = defaultBackoffMax
	}
	return p
}

// After returns the delay after the n-th counted attempt (from 0). random is in
// [0,1).
func (b Backoff) After(n int, random float64) time.Duration {
	ceiling := b.Max
	if n < 32 {
		ceiling = min(b.Max, b.Base<<n)
	}
	if ceiling < b.Base { // overflow
		ceiling = b.Max
	}
	return time.Duration(random * float64(ceiling))
}

// Jitter is a random number in [0,1).
func Jitter() float64 {
	return rand.Float64()
}
