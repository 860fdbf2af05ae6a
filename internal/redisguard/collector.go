package redisguard

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// clockCollector compares clocks when somebody asks.
type clockCollector struct {
	rdb  redis.UniversalClient
	now  func() time.Time
	skew *prometheus.Desc
}

// NewClockCollector returns the collector of errand_clock_skew_seconds. now is the local
// clock. There is no sample if Redis does not answer.
func NewClockCollector(rdb redis.UniversalClient, now func() time.Time) prometheus.Collector {
	return &clockCollector{
		rdb: rdb,
		now: now,
		skew: prometheus.NewDesc("errand_clock_skew_seconds",
			"By how much Redis' clock is at least ahead of this machine's, negative if it is behind.",
			nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *clockCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.skew
}

// Collect implements prometheus.Collector.
func (c *clockCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	if skew, err := Skew(ctx, c.rdb, c.now); err == nil {
		ch <- prometheus.MustNewConstMetric(c.skew, prometheus.GaugeValue, skew.Seconds())
	}
}

// Skew returns by how much Redis' clock is at least ahead of now, negative if it is behind;
// of a cluster that of the master which is farthest off.
func Skew(ctx context.Context, rdb redis.UniversalClient, now func() time.Time) (time.Duration, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		skew, trip, err := skewOf(ctx, rdb.(*redis.Client), now)
		return surely(skew, trip), err
	}
	var mu sync.Mutex
	var worst time.Duration
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		skew, trip, err := skewOf(ctx, c, now)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if s := surely(skew, trip); s.Abs() > worst.Abs() {
			worst = s
		}
		return nil
	})
	return worst, err
}
