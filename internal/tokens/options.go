package tokens

import (
	"time"

	"errand.internal/internal/seal"
)

// ChangeKind says how a credential's state has changed.
type ChangeKind uint8

// The kinds of change.
const (
	// Parked: the credential was refused; the tasks that need it wait.
	Parked ChangeKind = iota + 1
	// Resumed: it works again.
	Resumed
)

// String returns the word that events and logs use.
func (k ChangeKind) String() string {
	switch k {
	case Parked:
		return "parked"
	case Resumed:
		return "resumed"
	}
	return "unknown"
}

// Change is a credential's change of state as one process has learned of it.
type Change struct {
	Kind    ChangeKind
	Profile string
}

// settings are what the options set.
type settings struct {
	now          func() time.Time
	salt         *seal.Salt
	redisTimeout time.Duration
	onChange     func(Change)
	metrics      *Metrics
	coolDowns    []time.Duration
	lease        time.Duration
}

// Option changes how a Source or a Gate works, not which credential it is for.
type Option func(*settings)

// WithOnChange has f called for every change of state, once per process. f runs
// while callers wait, so it must be quick, and it may be called from several
// goroutines.
func WithOnChange(f func(Change)) Option {
	return func(s *settings) {
		s.onChange = f
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

// WithRedisTimeout sets how long one request to Redis may take before the
// process goes on without it; the default is 250 ms.
func WithRedisTimeout(d time.Duration) Option {
	return func(s *settings) {
		s.redisTimeout = d
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

// withLease sets how long a lease lasts, for tests of holders that die.
func withLease(d time.Duration) Option {
	return func(s *settings) {
		s.lease = d
	}
}

func newSettings(p Profile, opts []Option) settings {
	s := settings{
		now:          time.Now,
		redisTimeout: 250 * time.Millisecond,
		onChange:     func(Change) {},
		coolDowns:    coolDowns,
		lease:        p.Timeout + leaseMargin,
	}
	for _, o := range opts {
		o(&s)
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(nil)
	}
	return s
}
