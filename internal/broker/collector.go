package broker

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

const (
	// scrapeTimeout bounds what one scrape asks Redis.
	scrapeTimeout = 3 * time.Second
	// unconfirmedAfter is when a closing that nothing has confirmed is counted.
	unconfirmedAfter = time.Hour
)

// collector reads how full the queues are when somebody asks.
type collector struct {
	rdb         redis.UniversalClient
	store       *record.Store
	queues      []string
	tasks       *prometheus.Desc
	latency     *prometheus.Desc
	dead        *prometheus.Desc
	unconfirmed *prometheus.Desc
	alive       *prometheus.Desc
	workers     *prometheus.Desc
	up          *prometheus.Desc
}

// NewCollector reports the queues that are named, also if they are empty, and every
// other queue in Redis: one that nobody runs shows as one that grows.
func NewCollector(rdb redis.UniversalClient, queues []string) prometheus.Collector {
	perQueue := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"queue"}, more...), nil)
	}
	return &collector{
		rdb:    rdb,
		store:  record.New(rdb),
		queues: queues,
		tasks: perQueue(
			"errand_queue_tasks",
			"Tasks in a queue, by state. While the queue is paused, paused counts those that would be pending.",
			"state",
		),
		latency: perQueue(
			"errand_queue_latency_seconds",
			"Age of the oldest task that could run and does not.",
		),
		dead: perQueue(
			"errand_dead_letters",
			"Dead letters of a queue: tasks that ended archived, as many as are kept.",
		),
		unconfirmed: perQueue(
			"errand_unconfirmed_tasks",
			"Tasks whose effect must be confirmed, such as inactivations, and is not an hour after they were due.",
		),
		workers: perQueue("errand_queue_workers", "Live workers that run a queue."),
		alive:   prometheus.NewDesc("errand_workers", "Live workers of the fleet.", nil, nil),
		up:      prometheus.NewDesc("errand_redis_up", "Whether Redis answered this scrape.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.tasks
	ch <- c.latency
	ch <- c.dead
	ch <- c.unconfirmed
	ch <- c.workers
	ch <- c.alive
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
	if err != nil {
		return
	}
	if live, err := LiveWorkers(ctx, c.rdb); err == nil {
		ch <- prometheus.MustNewConstMetric(c.alive, prometheus.GaugeValue, float64(live.Processes))
		for _, info := range queues {
			n := float64(live.Running[info.Queue])
			ch <- prometheus.MustNewConstMetric(c.workers, prometheus.GaugeValue, n, info.Queue)
		}
	}
}

func (c *collector) report(ctx context.Context, ch chan<- prometheus.Metric, info QueueInfo) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{info.Queue}, labels...)...)
	}
	// Parked tasks wait among asynq's retries, until they are due or woken.
	parked, err := c.store.AllParked(ctx, info.Queue)
	parked = min(parked, info.Retry)
	if err == nil {
		gauge(c.tasks, float64(parked), "parked")
		gauge(c.tasks, float64(info.Retry-parked), "retrying")
	}
	pending, paused := info.Pending, int64(0)
	if info.Paused {
		pending, paused = 0, info.Pending
	}
	for state, n := range map[string]int64{
		"pending":   pending,
		"paused":    paused,
		"scheduled": info.Scheduled,
		"running":   info.Active,
		"archived":  info.Archived,
		"completed": info.Completed,
	} {
		gauge(c.tasks, float64(n), state)
	}
	gauge(c.latency, info.Latency.Seconds())
	if n, err := c.store.DeadLetters(ctx, info.Queue); err == nil {
		gauge(c.dead, float64(n))
	}
	if n, err := c.store.Unconfirmed(ctx, info.Queue, info.At.Add(-unconfirmedAfter)); err == nil {
		gauge(c.unconfirmed, float64(n))
	}
}
