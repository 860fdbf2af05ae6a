package worker

import (
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// freshLatest is how many of a worker's latest passcodes errand_otp_fresh_ratio is about.
const freshLatest = 1000

// freshness measures how late tasks with a Delivery, which are passcodes, leave.
type freshness struct {
	wait prometheus.Histogram

	mu     sync.Mutex
	latest [freshLatest]bool // whether each was fresh; a ring
	next   int
	count  int
	fresh  int
}

// newFreshness registers the figures with reg.
func newFreshness(reg prometheus.Registerer) *freshness {
	f := &freshness{
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "errand_otp_wait_ratio",
			Help:    "From the moment a passcode may be sent to the call, as a share of its usable time.",
			Buckets: []float64{.001, .01, .05, .1, .25, .5, .75, 1},
		}),
	}
	ratio := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "errand_otp_fresh_ratio",
		Help: "Share of this worker's latest 1000 passcodes that were sent within half of their usable time; " +
			"NaN before the first. Those that expired were not.",
	}, f.ratio)
	reg.MustRegister(f.wait, ratio)
	return f
}

// sent counts a passcode that is sent after a wait.
func (f *freshness) sent(wait, usable time.Duration) {
	share := float64(max(wait, 0)) / float64(max(usable, 1))
	f.wait.Observe(share)
	f.add(share <= 0.5)
}

// missed counts a passcode that expired.
func (f *freshness) missed() {
	f.add(false)
}

func (f *freshness) add(fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count < freshLatest {
		f.count++
	} else if f.latest[f.next] {
		f.fresh--
	}
	if fresh {
		f.fresh++
	}
	f.latest[f.next] = fresh
	f.next = (f.next + 1) % freshLatest
}

func (f *freshness) ratio() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		return math.NaN()
	}
	return float64(f.fresh) / float64(f.count)
}
