package tokens

import (
	"time"

	"errand.internal/internal/seal"
)

// EventKind says what became of a credential.
type EventKind uint8

// The kinds of event.
const (
	// Parked: the credential was refused; whoever needs it must wait.
	Parked EventKind = iota + 1
	// Resumed: it works again.
	Resumed
)

// String returns the word that events and logs use.
func (k EventKind) String() string {
	switch k {
	case Parked:
		return "parked"
	case Resumed:
		return "resumed"
	}
	return "unknown"
}

// Event is a credential's change of state as one process learnt of it.
type Event struct {
	Kind    EventKind
	Profile string
}

// Announce is told of every change once per process. It runs while callers
// wait, so it must be quick, and it may be called from several goroutines.
type Announce func(Event)

// settings are what the options set.
type settings struct {
	now       func() time.Time
	salt      *seal.Salt
	budget    time.Duration
	announce  Announce
	metrics   *Metrics
	coolDowns []time.Duration
	lease     time.Duration
}

// Option changes how a Source or a Gate works, not which credential it is for.
type Option func(*settings)

// WithAnnounce has changes of state announced.
func WithAnnounce(a Announce) Option {
	return func(s *settings) {
		s.announce = a
	}
}

// WithMetrics counts into m.
func WithMetrics(m *Metrics) Option {
	return func(s *settings) {
		s.metrics = m
	}
}

// WithSalt shares one reader of the salt between the sources of a process.
func WithSalt(salt *seal.Salt) Option {
	return func(s *settings) {
		s.salt = salt
	}
}

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option {
	return func(s *settings) {
		s.now = now
	}
}

// WithRedisBudget sets how long one question to Redis may take before the
// process goes on without it; 250 ms if unset.
func WithRedisBudget(d time.Duration) Option {
	return func(s *settings) {
		s.budget = d
	}
}

// WithCoolDowns replaces the ladder 30 s, 5 min, 30 min; the last step repeats.
func WithCoolDowns(steps ...time.Duration) Option {
	return func(s *settings) {
		if len(steps) > 0 {
			s.coolDowns = steps
		}
	}
}

// withLease sets the life of a lease, for tests of holders that die.
func withLease(d time.Duration) Option {
	return func(s *settings) {
		s.lease = d
	}
}

func newSettings(p Profile, opts []Option) settings {
	s := settings{
		now:       time.Now,
		budget:    250 * time.Millisecond,
		announce:  func(Event) {},
		coolDowns: coolDowns,
		lease:     p.Timeout + leaseMargin,
	}
	for _, o := range opts {
		o(&s)
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(nil)
	}
	return s
}
