package tokens

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the collectors of all profiles.
type Metrics struct {
	gets, fetches, rejects, verdicts *prometheus.CounterVec
	leasesLost, unreadable           *prometheus.CounterVec
	fetchSeconds, waitSeconds        *prometheus.HistogramVec
	coolDownUntil, expires, proven   *prometheus.GaugeVec
}

// NewMetrics makes the collectors and registers them with reg; nil registers
// them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(
			prometheus.CounterOpts{Name: "errand_" + name, Help: help},
			append([]string{"profile"}, labels...),
		)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(
			prometheus.GaugeOpts{Name: "errand_" + name, Help: help},
			[]string{"profile"},
		)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "errand_" + name,
			Help:    help,
			Buckets: []float64{.005, .02, .1, .25, .5, 1, 2.5, 5, 10, 20, 40},
		}, []string{"profile"})
	}
	return &Metrics{
		gets: counter(
			"token_gets_total",
			"Tokens handed out, by where they came from: local, redis, fetched, stale (refresh due), fallback (without Redis).",
			"source",
		),
		fetches: counter(
			"token_fetches_total",
			"Logins by result: ok, refused, unavailable.",
			"result",
		),
		rejects: counter(
			"token_rejects_total",
			"Tokens that a vendor refused, by result: rejected, replaced (already), fresh, held (rejections are off).",
			"result",
		),
		verdicts: counter(
			"credential_verdicts_total",
			"What calls said about a static credential: accepted, refused, none.",
			"verdict",
		),
		leasesLost: counter(
			"token_leases_lost_total",
			"Logins that ended after their lease had.",
		),
		unreadable: counter(
			"token_undecryptable_total",
			"Shared tokens this process could not open.",
		),
		fetchSeconds: histogram("token_fetch_seconds", "How long logins took."),
		waitSeconds: histogram(
			"token_wait_seconds",
			"How long callers waited for a token that was not at hand.",
		),
		coolDownUntil: gauge(
			"token_cooldown_until_seconds",
			"Unix time until which the credential rests; 0 if it does not.",
		),
		expires: gauge(
			"token_expires_seconds",
			"Unix time at which this process' token ends.",
		),
		proven: gauge(
			"credential_proven",
			"1 if this process knows the static credential to work.",
		),
	}
}

// counters are one profile's, looked up once, so that counting a hand-out is
// one atomic addition.
type counters struct {
	local, redis, fetched, stale, fallback     prometheus.Counter
	ok, refused, unavailable                   prometheus.Counter
	rejected, replaced, fresh, heldBack        prometheus.Counter
	callAccepted, callRefused, callSaidNothing prometheus.Counter
	leasesLost, unreadable                     prometheus.Counter
	fetchSeconds, waitSeconds                  prometheus.Observer
	coolDownUntil, expires, proven             prometheus.Gauge
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

		callAccepted:    m.verdicts.WithLabelValues(profile, "accepted"),
		callRefused:     m.verdicts.WithLabelValues(profile, "refused"),
		callSaidNothing: m.verdicts.WithLabelValues(profile, "none"),

		leasesLost:    m.leasesLost.WithLabelValues(profile),
		unreadable:    m.unreadable.WithLabelValues(profile),
		fetchSeconds:  m.fetchSeconds.WithLabelValues(profile),
		waitSeconds:   m.waitSeconds.WithLabelValues(profile),
		coolDownUntil: m.coolDownUntil.WithLabelValues(profile),
		expires:       m.expires.WithLabelValues(profile),
		proven:        m.proven.WithLabelValues(profile),
	}
}

// unixIn is the wall time d from now, as gauges hold it.
func unixIn(d time.Duration) float64 {
	return float64(time.Now().Add(d).UnixMilli()) / 1000
}
