// Package metrics makes Prometheus collectors with labels in one line each.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Factory makes the collectors of one registry.
type Factory struct{ factory promauto.Factory }

// For returns the Factory of a registry. A nil reg registers nothing.
func For(reg prometheus.Registerer) Factory {
	return Factory{promauto.With(reg)}
}

// Counter makes a counter.
func (f Factory) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	return f.factory.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// Gauge makes a gauge.
func (f Factory) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return f.factory.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// Histogram makes a histogram.
func (f Factory) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return f.factory.NewHistogramVec(prometheus.HistogramOpts{
		Name:    name,
		Help:    help,
		Buckets: buckets,
	}, labels)
}

// UnixIn is the Unix time d from now, in seconds.
func UnixIn(d time.Duration) float64 {
	return float64(time.Now().Add(d).UnixMilli()) / 1000
}
