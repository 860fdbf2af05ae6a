package broker

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// scrapeTimeout bounds what one scrape asks Redis.
const scrapeTimeout = 3 * time.Second

// collector reads how full the queues are when somebody asks.
type collector struct {
	rdb     redis.UniversalClient
	store   *record.Store
	queues  []string
	tasks   *prometheus.Desc
	latency *prometheus.Desc
	dead    *prometheus.Desc
	up      *prometheus.Desc
}

// NewCollector reports the queues that are named, also if they are empty, and every
// other queue in Redis: one that nobody runs shows as one that grows.
func NewCollector(rdb redis.UniversalClient, queues []string) prometheus.Collector {
	return &collector{
		rdb:    rdb,
		store:  record.New(rdb),
		queues: queues,
		tasks: prometheus.NewDesc(
			"errand_queue_tasks",
			"Tasks in a queue, by state.",
			[]string{"queue", "state"}, nil,
		),
		latency: prometheus.NewDesc(
			"errand_queue_latency_seconds",
			"Age of the oldest task that could run and does not.",
			[]string{"queue"}, nil,
		),
		dead: prometheus.NewDesc(
			"errand_dead_letters",
			"Dead letters of a queue: tasks that ended archived, as many as are kept.",
			[]string{"queue"}, nil,
		),
		up: prometheus.NewDesc("errand_redis_up", "Whether Redis answered this scrape.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.tasks
	ch <- c.latency
	ch <- c.dead
	ch <- c.up
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	queues, err := Queues(ctx, c.rdb, c.queues...)
	up := 0.0
	if err == nil {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	for _, info := range queues {
		c.report(ctx, ch, info)
	}
}

func (c *collector) report(ctx context.Context, ch chan<- prometheus.Metric, info QueueInfo) {
	for state, n := range map[string]int64{
		"pending":   info.Pending,
		"scheduled": info.Scheduled,
		"running":   info.Active,
		"retrying":  info.Retry,
		"archived":  info.Archived,
		"completed": info.Completed,
	} {
		ch <- prometheus.MustNewConstMetric(c.tasks, prometheus.GaugeValue, float64(n), info.Queue, state)
	}
	ch <- prometheus.MustNewConstMetric(c.latency, prometheus.GaugeValue, info.Latency.Seconds(), info.Queue)
	if n, err := c.store.DeadLetters(ctx, info.Queue); err == nil {
		ch <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(n), info.Queue)
	}
}
