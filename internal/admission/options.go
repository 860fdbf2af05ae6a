package admission

import (
	"context"
	"time"

	"errand.internal/internal/seal"
)

// Option changes how the parts of this package work, not what they admit. Each part
// takes the options of all and uses its own.
type Option func(*allOptions)

type allOptions struct {
	options
	breakerOptions
}

// options are those of limits, guards and outages.
type options struct {
	clock    Clock
	metrics  *Metrics
	onOutage func(OutageChange)
	onSurge  func(SurgeChange)
}

// breakerOptions are those of breakers.
type breakerOptions struct {
	timeNow      func() time.Time
	salt         *seal.Salt
	redisTimeout time.Duration
	onChange     func(Change)
	metrics      *Metrics
	coolDowns    []time.Duration
	lease        time.Duration
}

// Clock is a time that tests drive.
type Clock interface {
	Now() time.Time
	// Sleep returns early, with an error, when ctx ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// WithClock replaces Redis' clock and the machine's for limits and guards, for tests.
func WithClock(c Clock) Option {
	return func(s *allOptions) {
		s.clock = c
	}
}

// WithNow replaces time.Now for breakers, for tests.
func WithNow(now func() time.Time) Option {
	return func(s *allOptions) {
		s.timeNow = now
	}
}

// WithMetrics counts into m.
func WithMetrics(m *Metrics) Option {
	return func(s *allOptions) {
		s.options.metrics = m
		s.breakerOptions.metrics = m
	}
}

// WithSalt shares one reader of the salt between the breakers of a process.
func WithSalt(salt *seal.Salt) Option {
	return func(s *allOptions) {
		s.salt = salt
	}
}

// WithRedisTimeout sets how long one request of a breaker to Redis may take before the
// process goes on without it; the default is 250 ms.
func WithRedisTimeout(d time.Duration) Option {
	return func(s *allOptions) {
		s.redisTimeout = d
	}
}

// WithCoolDowns replaces a breaker's ladder, see ladderOf; the last step repeats.
func WithCoolDowns(steps ...time.Duration) Option {
	return func(s *allOptions) {
		if len(steps) > 0 {
			s.coolDowns = steps
		}
	}
}

// WithOnChange has f called for every change of a breaker, once per process. f runs while
// callers wait, so it must be quick, and it may be called from several goroutines.
func WithOnChange(f func(Change)) Option {
	return func(s *allOptions) {
		s.onChange = f
	}
}

// WithLease sets how long a lease lasts, for tests of holders that die.
func WithLease(d time.Duration) Option {
	return func(s *allOptions) {
		s.lease = d
	}
}

// ChangeKind says how a breaker has changed.
type ChangeKind uint8

// The kinds of change.
const (
	// Parked: the vendor refused; the tasks that need what is guarded wait.
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

// Change is a breaker's change of state as one process has learned of it.
type Change struct {
	Kind    ChangeKind
	Profile string
}

func allOf(p Profile, opts []Option) allOptions {
	s := allOptions{breakerOptions: breakerOptions{
		timeNow:      time.Now,
		redisTimeout: 250 * time.Millisecond,
		onChange:     func(Change) {},
		coolDowns:    ladderOf(p),
		lease:        p.Timeout + LeaseMargin,
	}}
	for _, opt := range opts {
		opt(&s)
	}
	if s.options.metrics == nil {
		WithMetrics(NewMetrics(nil))(&s)
	}
	return s
}

func newOptions(opts []Option) options {
	return allOf(Profile{}, opts).options
}

func newBreakerOptions(p Profile, opts []Option) breakerOptions {
	return allOf(p, opts).breakerOptions
}

// redisNow is the time in microseconds that a script takes for Redis', 0 for Redis' own.
func (o options) redisNow() int64 {
	if o.clock == nil {
		return 0
	}
	return o.clock.Now().UnixMicro()
}

func (o options) now() time.Time {
	if o.clock == nil {
		return time.Now()
	}
	return o.clock.Now()
}

func (o options) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if o.clock != nil {
		return o.clock.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
