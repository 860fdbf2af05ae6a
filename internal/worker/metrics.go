package worker

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
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
	fresh    *freshness
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
			Help: "Tasks put aside without counting an attempt, by type and the credential or limit they wait for " +
				"(none if it has no name).",
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
	m.fresh = newFreshness(reg)
	reg.MustRegister(m.finished, m.attempts, m.wait, m.parked, m.hung, m.unlisted, m.requests, m.took)
	return m
}

const (
	// noBlocker labels what is parked for something without a name.
	noBlocker = "none"
	// workerBlocker names a worker that can run the task: of a newer release, or with
	// credentials.
	workerBlocker = "worker"
)

// classes are the classes of an attempt.
func classes() []string {
	all := []string{classPanic, classHang, classParked, classNotFound}
	for _, outcome := range record.Outcomes {
		all = append(all, string(outcome))
	}
	for _, kind := range clients.Kinds {
		all = append(all, kind.String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// prepare creates the counters of the task types that the queues run, at zero: Prometheus
// sees no increase in a counter that begins at one.
func (m *Metrics) prepare(cfg Config) {
	var parkable []broker.Blocker
	if cfg.Blockers != nil {
		parkable = cfg.Blockers()
	}
	types := map[string][]string{unknownType: {noBlocker, workerBlocker}} // with what their tasks wait for
	for _, d := range cfg.Definitions {
		if _, runs := cfg.Queues[d.Base.Queue]; !runs {
			continue
		}
		blockers := []string{rateLimit(d.Vendor)}
		for _, b := range parkable {
			blockers = append(blockers, b.Name)
		}
		blockers = append(blockers, cfg.Limits...)
		blockers = slices.DeleteFunc(blockers, func(name string) bool {
			return !strings.HasPrefix(name, d.Vendor)
		})
		types[d.Type] = append(blockers, noBlocker, workerBlocker)
	}
	for taskType, blockers := range types {
		for _, outcome := range record.Outcomes {
			m.finished.WithLabelValues(taskType, string(outcome))
		}
		for _, class := range classes() {
			m.attempts.WithLabelValues(taskType, class)
		}
		for _, blocker := range blockers {
			m.parked.WithLabelValues(taskType, blocker)
		}
		m.wait.WithLabelValues(taskType)
	}
}

// listedStatuses are the statuses that calls are counted by from the start. Any other
// appears when a vendor answers with it first.
var listedStatuses = []int{0, 200, 201, 202, 204, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504}

// PrepareCalls creates the counters of a vendor's operations at zero.
func (m *Metrics) PrepareCalls(vendor string, operations ...string) {
	for _, operation := range operations {
		for _, status := range listedStatuses {
			m.requests.WithLabelValues(vendor, operation, statusLabel(status))
		}
		m.took.WithLabelValues(vendor, operation)
		m.unlisted.WithLabelValues(vendor, operation)
	}
}

// countUnlisted counts an answer that the vendor's pages do not list.
func (m *Metrics) countUnlisted(err error) {
	if fault, ok := clients.AsError(err); ok && fault.Unlisted {
		m.unlisted.WithLabelValues(fault.Vendor, fault.Op).Inc()
	}
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
