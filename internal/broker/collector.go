package broker

import (
	"context"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// collector reads how full the queues are when somebody asks.
type collector struct {
	inspector *asynq.Inspector
	store     *record.Store
	queues    []string
	tasks     *prometheus.Desc
	latency   *prometheus.Desc
	dead      *prometheus.Desc
	up        *prometheus.Desc
}

// NewCollector reports every queue in Redis, and those of queues that are not
// there yet: a queue that nobody runs shows as one that grows.
func NewCollector(rdb redis.UniversalClient, queues []string) prometheus.Collector {
	return &collector{
		inspector: asynq.NewInspectorFromRedisClient(rdb),
		store:     record.New(rdb),
		queues:    queues,
		tasks:     prometheus.NewDesc("errand_queue_tasks", "Tasks in a queue, by state.", []string{"queue", "state"}, nil),
		latency:   prometheus.NewDesc("errand_queue_latency_seconds", "Age of the oldest task that could run and does not.", []string{"queue"}, nil),
		dead:      prometheus.NewDesc("errand_dead_letters", "Dead letters of a queue: tasks that ended archived, as many as are kept.", []string{"queue"}, nil),
		up:        prometheus.NewDesc("errand_redis_up", "Whether Redis answered this scrape.", nil, nil),
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
	names, err := c.inspector.Queues()
	if err != nil {
		ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 1)
	for _, name := range c.queues {
		if !slices.Contains(names, name) {
			c.report(ch, name, &asynq.QueueInfo{}) // nothing was ever enqueued there
		}
	}
	for _, name := range names {
		if info, err := c.inspector.GetQueueInfo(name); err == nil {
			c.report(ch, name, info)
		}
	}
}

func (c *collector) report(ch chan<- prometheus.Metric, name string, info *asynq.QueueInfo) {
	for state, n := range map[string]int{
		"pending": info.Pending, "scheduled": info.Scheduled, "running": info.Active,
		"retrying": info.Retry, "archived": info.Archived, "completed": info.Completed,
	} {
		ch <- prometheus.MustNewConstMetric(c.tasks, prometheus.GaugeValue, float64(n), name, state)
	}
	ch <- prometheus.MustNewConstMetric(c.latency, prometheus.GaugeValue, info.Latency.Seconds(), name)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if n, err := c.store.DeadLetters(ctx, name); err == nil {
		ch <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(n), name)
	}
}
