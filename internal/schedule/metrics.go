package schedule

import "github.com/prometheus/client_golang/prometheus"

// Results of a tick.
const (
	tickEnqueued = "enqueued" // on time
	tickLate     = "late"     // begun more than grace after its time
	tickMissed   = "missed"   // never begun: no worker could at its time
	tickFailed   = "failed"   // begun, but not completely enqueued before a newer one was due
)

// Results of one task of a tick.
const (
	taskEnqueued  = "enqueued"
	taskDuplicate = "duplicate" // another worker had enqueued it
	taskOverlap   = "overlap"   // skipped: the subject's earlier task is still active
	taskRefused   = "refused"   // its payload breaks a rule now, though not when the file was read
)

var (
	tickResults = []string{tickEnqueued, tickLate, tickMissed, tickFailed}
	taskResults = []string{taskEnqueued, taskDuplicate, taskOverlap, taskRefused}
)

// metrics are those of one process; the worker that enqueues a tick counts it.
type metrics struct {
	ticks   *prometheus.CounterVec
	tasks   *prometheus.CounterVec
	reloads *prometheus.CounterVec
	fileOK  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_schedule_ticks_total",
			Help: "Ticks of schedules by result: enqueued, late, missed or failed.",
		}, []string{"name", "result"}),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_schedule_tasks_total",
			Help: "Tasks of ticks by result: enqueued, duplicate (another worker had enqueued it), " +
				"overlap (skipped, the earlier one is still active) or refused (its payload breaks a rule).",
		}, []string{"name", "result"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_schedule_reloads_total",
			Help: "Changes of the schedule file: applied, or broken (the previous schedules continue).",
		}, []string{"result"}),
		fileOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "errand_schedule_file_ok",
			Help: "1 if the current schedule file is applied, 0 if it has problems and an older one is.",
		}),
	}
	reg.MustRegister(m.ticks, m.tasks, m.reloads, m.fileOK)
	m.reloads.WithLabelValues("applied")
	m.reloads.WithLabelValues("broken")
	return m
}

// add creates the counters of a schedule at zero, so that an alert sees the first
// miss.
func (m *metrics) add(name string) {
	for _, r := range tickResults {
		m.ticks.WithLabelValues(name, r)
	}
	for _, r := range taskResults {
		m.tasks.WithLabelValues(name, r)
	}
}

// remove deletes the counters of a schedule.
func (m *metrics) remove(name string) {
	m.ticks.DeletePartialMatch(prometheus.Labels{"name": name})
	m.tasks.DeletePartialMatch(prometheus.Labels{"name": name})
}

func (m *metrics) countTicks(name, result string, n int) {
	m.ticks.WithLabelValues(name, result).Add(float64(n))
}
