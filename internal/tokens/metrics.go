package tokens

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the collectors of all profiles.
type Metrics struct {
	gets         *prometheus.CounterVec
	fetches      *prometheus.CounterVec
	rejects      *prometheus.CounterVec
	unreadable   *prometheus.CounterVec
	fetchSeconds *prometheus.HistogramVec
	waitSeconds  *prometheus.HistogramVec
	expires      *prometheus.GaugeVec
}

// NewMetrics makes the collectors and registers them with reg; nil registers
// them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	c := collectors{promauto.With(reg)}
	return &Metrics{
		gets: c.counter(
			"token_gets_total",
			"Tokens handed out, by where they came from: local, redis, fetched, stale (refresh due), "+
				"fallback (without Redis).",
			"source",
		),
		fetches: c.counter("token_fetches_total", "Logins by result: ok, refused, unavailable.", "result"),
		rejects: c.counter(
			"token_rejects_total",
			"Tokens that a vendor refused, by result: rejected, replaced (already), fresh, held (rejections are off).",
			"result",
		),
		unreadable:   c.counter("token_undecryptable_total", "Shared tokens this process could not open."),
		fetchSeconds: c.histogram("token_fetch_seconds", "How long logins took."),
		waitSeconds: c.histogram(
			"token_wait_seconds",
			"How long callers waited for a token that was not at hand.",
		),
		expires: c.gauge("token_expires_seconds", "Unix time at which this process' token expires."),
	}
}

// collectors makes collectors with the label profile.
type collectors struct{ factory promauto.Factory }

func (c collectors) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return c.factory.NewCounterVec(
		prometheus.CounterOpts{Name: "errand_" + name, Help: help},
		append([]string{"profile"}, labels...),
	)
}

func (c collectors) gauge(name, help string) *prometheus.GaugeVec {
	return c.factory.NewGaugeVec(
		prometheus.GaugeOpts{Name: "errand_" + name, Help: help},
		[]string{"profile"},
	)
}

func (c collectors) histogram(name, help string) *prometheus.HistogramVec {
	return c.factory.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "errand_" + name,
		Help:    help,
		Buckets: []float64{.005, .02, .1, .25, .5, 1, 2.5, 5, 10, 20, 40},
	}, []string{"profile"})
}

// counters are one profile's collectors, looked up once, so that counting a
// hand-out is one atomic addition.
type counters struct {
	local    prometheus.Counter
	redis    prometheus.Counter
	fetched  prometheus.Counter
	stale    prometheus.Counter
	fallback prometheus.Counter

	ok          prometheus.Counter
	refused     prometheus.Counter
	unavailable prometheus.Counter

	rejected prometheus.Counter
	replaced prometheus.Counter
	fresh    prometheus.Counter
	heldBack prometheus.Counter

	unreadable   prometheus.Counter
	fetchSeconds prometheus.Observer
	waitSeconds  prometheus.Observer
	expires      prometheus.Gauge
}

func (m *Metrics) of(profile string) *counters {
	return &counters{
		local:    m.gets.WithLabelValues(profile, "local"),
		redis:    m.gets.WithLabelValues(profile, "redis"),
		fetched:  m.gets.WithLabelValues(profile, "fetched"),
		stale:    m.gets.WithLabelValues(profile, "stale"),
		fallback: m.gets.WithLabelValues(profile, "fallback"),

		ok:          m.fetches.WithLabelValues(profile, "ok"),
		refused:     m.fetches.WithLabelValues(profile, "refused"),
		unavailable: m.fetches.WithLabelValues(profile, "unavailable"),

		rejected: m.rejects.WithLabelValues(profile, "rejected"),
		replaced: m.rejects.WithLabelValues(profile, "replaced"),
		fresh:    m.rejects.WithLabelValues(profile, "fresh"),
		heldBack: m.rejects.WithLabelValues(profile, "held"),

		unreadable:   m.unreadable.WithLabelValues(profile),
		fetchSeconds: m.fetchSeconds.WithLabelValues(profile),
		waitSeconds:  m.waitSeconds.WithLabelValues(profile),
		expires:      m.expires.WithLabelValues(profile),
	}
}

// unixIn is the Unix time d from now, in seconds.
func unixIn(d time.Duration) float64 {
	return float64(time.Now().Add(d).UnixMilli()) / 1000
}
