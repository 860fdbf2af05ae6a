package httpapi

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the interface is asked.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	rows     *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

// The reasons of a refusal before a call, and the results of a row.
var (
	refusals   = []string{"missing", "wrong", "rate", "busy"}
	rowResults = []string{"enqueued", "duplicate", "refused", "failed"}
)

// newMetrics registers the metrics.
func newMetrics(reg prometheus.Registerer, calls []string) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_api_requests_total",
			Help: "Requests of the HTTP interface, by the name of the key, the call and the HTTP status.",
		}, []string{"key", "call", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "errand_api_request_seconds",
			Help:    "How long requests of the HTTP interface took, with their wait for an outcome.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"call"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_api_rows_total",
			Help: "Rows of POST /v1/tasks:bulk, by the name of the key and what became of them.",
		}, []string{"key", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_api_refused_total",
			Help: "Requests without a call: the API key is missing or wrong, or it sends too many.",
		}, []string{"reason"}),
	}
	for _, reason := range refusals {
		m.refused.WithLabelValues(reason)
	}
	for _, call := range calls {
		m.seconds.WithLabelValues(call)
	}
	reg.MustRegister(m.requests, m.seconds, m.rows, m.refused)
	return m
}

// callMetrics count one call.
type callMetrics struct {
	name     string
	requests *prometheus.CounterVec
	seconds  prometheus.Observer
	known    sync.Map // of prometheus.Counter by counted; to look one up in the vector takes longer
}

// counted is what tells the requests of a call apart.
type counted struct {
	key    string
	status int
}

// of returns the metrics of a call.
func (m *metrics) of(call string) *callMetrics {
	return &callMetrics{
		name:     call,
		requests: m.requests,
		seconds:  m.seconds.WithLabelValues(call),
	}
}

func (m *callMetrics) observe(keyName string, status int, took time.Duration) {
	of := counted{keyName, status}
	counter, ok := m.known.Load(of)
	if !ok {
		counter, _ = m.known.LoadOrStore(of, m.requests.WithLabelValues(keyName, m.name, strconv.Itoa(status)))
	}
	counter.(prometheus.Counter).Inc()
	m.seconds.Observe(took.Seconds())
}

// prepare creates every series that a key can have at zero.
func (m *metrics) prepare(k *key) {
	for _, result := range rowResults {
		m.rows.WithLabelValues(k.name, result)
	}
}
