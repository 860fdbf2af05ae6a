package schedule

import "github.com/prometheus/client_golang/prometheus"

// How a tick came out.
const (
	tickEnqueued = "enqueued" // on time
	tickLate     = "late"     // begun more than grace after its time
	tickMissed   = "missed"   // never begun: nobody could at its time
	tickFailed   = "failed"   // begun, and not all of it enqueued before a newer one was due
)

// What became of one task of a tick.
const (
	taskEnqueued  = "enqueued"
	taskDuplicate = "duplicate" // another worker had enqueued it
	taskOverlap   = "overlap"   // skipped: the subject's earlier task is under way
	taskRefused   = "refused"   // it broke a rule, though it did not when the file was read
)

var (
	tickResults = []string{tickEnqueued, tickLate, tickMissed, tickFailed}
	taskResults = []string{taskEnqueued, taskDuplicate, taskOverlap, taskRefused}
)

// metrics are the figures of one process; a tick is counted by the worker that
// enqueues it.
type metrics struct {
	ticks, tasks *prometheus.CounterVec
	reloads      *prometheus.CounterVec
	fileOK       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_schedule_ticks_total", Help: "Ticks of schedules, by how they came out: enqueued, late, missed or failed.",
		}, []string{"name", "result"}),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_schedule_tasks_total", Help: "Tasks of ticks: enqueued, duplicate (another worker had), overlap (skipped, the earlier one is under way) or refused.",
		}, []string{"name", "result"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_schedule_reloads_total", Help: "Changes of the schedule file: applied, or broken (the old schedules go on).",
		}, []string{"result"}),
		fileOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "errand_schedule_file_ok", Help: "1 if the schedule file as it stands is in force, 0 if it is broken and an older one is.",
		}),
	}
	reg.MustRegister(m.ticks, m.tasks, m.reloads, m.fileOK)
	m.reloads.WithLabelValues("applied")
	m.reloads.WithLabelValues("broken")
	return m
}

// known gives a schedule its rows before anything happens, so that an alert sees
// the first miss.
func (m *metrics) known(name string) {
	for _, r := range tickResults {
		m.ticks.WithLabelValues(name, r)
	}
	for _, r := range taskResults {
		m.tasks.WithLabelValues(name, r)
	}
}

func (m *metrics) gone(name string) {
	m.ticks.DeletePartialMatch(prometheus.Labels{"name": name})
	m.tasks.DeletePartialMatch(prometheus.Labels{"name": name})
}

func (m *metrics) tick(name, result string, n int) {
	m.ticks.WithLabelValues(name, result).Add(float64(n))
}
