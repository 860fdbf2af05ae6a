package tokens

import (
	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/internal/metrics"
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

// seconds are the buckets of how long logins, and waits for them, take.
var seconds = []float64{.005, .02, .1, .25, .5, 1, 2.5, 5, 10, 20, 40}

// NewMetrics makes the collectors and registers them with reg; nil registers
// them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := metrics.For(reg)
	return &Metrics{
		gets: f.Counter(
			"errand_token_gets_total",
			"Tokens handed out, by where they came from: local, redis, fetched, stale (refresh due), "+
				"fallback (without Redis).",
			"profile", "source",
		),
		fetches: f.Counter(
			"errand_token_fetches_total",
			"Logins by result: ok, refused, unavailable.",
			"profile", "result",
		),
		rejects: f.Counter(
			"errand_token_rejects_total",
			"Tokens that a vendor refused, by result: rejected, replaced (already), fresh, held (rejections are off).",
			"profile", "result",
		),
		unreadable: f.Counter(
			"errand_token_undecryptable_total",
			"Shared tokens this process could not open.",
			"profile",
		),
		fetchSeconds: f.Histogram("errand_token_fetch_seconds", "How long logins took.", seconds, "profile"),
		waitSeconds: f.Histogram(
			"errand_token_wait_seconds",
			"How long callers waited for a token that was not at hand.",
			seconds,
			"profile",
		),
		expires: f.Gauge(
			"errand_token_expires_seconds",
			"Unix time at which this process' token expires.",
			"profile",
		),
	}
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
