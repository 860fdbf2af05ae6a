package worker

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/clients"
)

// Metrics are the queue's own figures, and those of the vendors' calls.
type Metrics struct {
	finished *prometheus.CounterVec
	attempts *prometheus.CounterVec
	wait     *prometheus.HistogramVec
	parked   *prometheus.CounterVec
	hung     prometheus.Counter
	unlisted *prometheus.CounterVec
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// NewMetrics registers the figures with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_tasks_finished_total",
			Help: "Tasks that ended, by type and outcome.",
		}, []string{"type", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_task_attempts_total",
			Help: "Attempts, by type and class (an outcome, or the kind of the fault).",
		}, []string{"type", "class"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "errand_task_wait_seconds",
			Help:    "From the moment a task may run to its first vendor call.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}, []string{"type"}),
		parked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_tasks_parked_total",
			Help: "Tasks put aside without counting an attempt, by type and the credential or limit they wait for.",
		}, []string{"type", "blocked_by"}),
		unlisted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_unlisted_answers_total",
			Help: "Answers that the vendor's pages do not list, taken by their safe default: somebody should look.",
		}, []string{"vendor", "operation"}),
		hung: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "errand_hung_handlers_total",
			Help: "Handlers that ignored the end of their time.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_vendor_requests_total",
			Help: "Calls of a vendor, by operation and HTTP status (none if no answer came).",
		}, []string{"vendor", "operation", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "errand_vendor_request_seconds",
			Help:    "How long a vendor's answer took.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30},
		}, []string{"vendor", "operation"}),
	}
	reg.MustRegister(m.finished, m.attempts, m.wait, m.parked, m.hung, m.unlisted, m.requests, m.took)
	return m
}

// ObserveCall counts one vendor call; it is what clients.NewCaller reports to.
func (m *Metrics) ObserveCall(o clients.Observation) {
	m.requests.WithLabelValues(o.Vendor, o.Op, statusLabel(o.Status)).Inc()
	m.took.WithLabelValues(o.Vendor, o.Op).Observe(o.Took.Seconds())
}

func statusLabel(status int) string {
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(status)
}

func (m *Metrics) observeWait(taskType string, wait time.Duration) {
	m.wait.WithLabelValues(taskType).Observe(max(wait, 0).Seconds())
}
