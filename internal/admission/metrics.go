package admission

import (
	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/internal/metrics"
)

// Metrics are the collectors of all accounts.
type Metrics struct {
	limitWaits     *prometheus.CounterVec
	limitExhausted *prometheus.CounterVec
	limitUnasked   *prometheus.CounterVec
	verdicts       *prometheus.CounterVec
	leasesLost     *prometheus.CounterVec
	coolDownUntil  *prometheus.GaugeVec
	outageState    *prometheus.GaugeVec
	surges         *prometheus.CounterVec
	guardRefusals  *prometheus.CounterVec
}

// NewMetrics makes the collectors and registers them with reg; nil registers them
// nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := metrics.For(reg)
	return &Metrics{
		limitWaits: f.Counter(
			"errand_limit_waits_total",
			"Calls that had to wait for their account's rate or concurrency, by how: here, or parked.",
			"account", "how",
		),
		limitExhausted: f.Counter(
			"errand_limit_exhausted_total",
			"Answers by which the vendor says that the account's calls are used up (429).",
			"account",
		),
		limitUnasked: f.Counter(
			"errand_limit_unasked_total",
			"Calls let go without asking, because Redis did not answer.",
			"account",
		),
		verdicts: f.Counter(
			"errand_credential_verdicts_total",
			"What calls said about a static credential: accepted, refused, none.",
			"profile", "verdict",
		),
		leasesLost: f.Counter("errand_token_leases_lost_total", "Logins that ended after their lease had.", "profile"),
		coolDownUntil: f.Gauge(
			"errand_token_cooldown_until_seconds",
			"Unix time at which the credential's cool-down ends; 0 if there is none.",
			"profile",
		),
		outageState: f.Gauge(
			"errand_breaker_state",
			"The account's circuit breaker as this process knows it: 0 closed, 1 being tried, 2 open.",
			"account",
		),
		surges: f.Counter(
			"errand_otp_surges_total",
			"Hours in which the account sent far more passcodes than in the same hour of the last seven days, "+
				"as announced by this process.",
			"account",
		),
		guardRefusals: f.Counter(
			"errand_guard_refusals_total",
			"Passcodes that were declined, because the recipient or the account has had as many as is allowed.",
			"guard",
		),
	}
}

// breakerCounters are one profile's.
type breakerCounters struct {
	accepted      prometheus.Counter
	refused       prometheus.Counter
	inconclusive  prometheus.Counter
	leasesLost    prometheus.Counter
	coolDownUntil prometheus.Gauge
}

func (m *Metrics) breakerOf(profile string) *breakerCounters {
	return &breakerCounters{
		accepted:      m.verdicts.WithLabelValues(profile, "accepted"),
		refused:       m.verdicts.WithLabelValues(profile, "refused"),
		inconclusive:  m.verdicts.WithLabelValues(profile, "none"),
		leasesLost:    m.leasesLost.WithLabelValues(profile),
		coolDownUntil: m.coolDownUntil.WithLabelValues(profile),
	}
}

func (c *breakerCounters) verdict(v Verdict) {
	switch v {
	case Accepted:
		c.accepted.Inc()
	case Refused:
		c.refused.Inc()
	default:
		c.inconclusive.Inc()
	}
}

// outageCounters are one account's.
type outageCounters struct {
	state prometheus.Gauge
}

func (m *Metrics) outageOf(account string) *outageCounters {
	return &outageCounters{state: m.outageState.WithLabelValues(account)}
}

// limitCounters are one account's.
type limitCounters struct {
	waitedHere prometheus.Counter
	parked     prometheus.Counter
	exhausted  prometheus.Counter
	unasked    prometheus.Counter
}

func (m *Metrics) limitsOf(account string) *limitCounters {
	return &limitCounters{
		waitedHere: m.limitWaits.WithLabelValues(account, "here"),
		parked:     m.limitWaits.WithLabelValues(account, "parked"),
		exhausted:  m.limitExhausted.WithLabelValues(account),
		unasked:    m.limitUnasked.WithLabelValues(account),
	}
}
