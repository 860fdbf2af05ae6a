package limits

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Option changes how a Limiter or a Guard works, not what it allows.
type Option func(*options)

type options struct {
	clock   Clock
	metrics *Metrics
}

// Clock is a time that tests drive.
type Clock interface {
	Now() time.Time
	// Sleep ends early with ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// WithClock replaces Redis' clock and the machine's, for tests.
func WithClock(c Clock) Option { return func(o *options) { o.clock = c } }

// WithMetrics counts into m.
func WithMetrics(m *Metrics) Option {
	return func(o *options) {
		if m != nil {
			o.metrics = m
		}
	}
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.metrics == nil {
		o.metrics = NewMetrics(nil)
	}
	return o
}

// redisNow is the time in microseconds that a script is to take for Redis', 0
// for Redis' own.
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

// Metrics are the collectors of all accounts.
type Metrics struct {
	waits           *prometheus.CounterVec
	closed, unasked *prometheus.CounterVec
}

// NewMetrics makes the collectors and registers them with reg; nil registers
// them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Name: "errand_limit_" + name, Help: help}, append([]string{"account"}, labels...))
	}
	return &Metrics{
		waits:   counter("waits_total", "Calls that had to wait for their account's rate or concurrency, by how: here, or parked.", "how"),
		closed:  counter("exhausted_total", "Answers by which the vendor says that the account's calls are used up (429)."),
		unasked: counter("unasked_total", "Calls let go without asking, because Redis did not answer."),
	}
}

// counters are one account's.
type counters struct{ inPlace, parked, closed, unasked prometheus.Counter }

func (m *Metrics) of(account string) *counters {
	return &counters{
		inPlace: m.waits.WithLabelValues(account, "here"), parked: m.waits.WithLabelValues(account, "parked"),
		closed: m.closed.WithLabelValues(account), unasked: m.unasked.WithLabelValues(account),
	}
}
