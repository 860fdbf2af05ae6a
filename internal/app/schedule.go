package app

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// startSchedules runs the schedules until ctx ends or stop is called. stop waits
// until they have ended; it may be called more than once.
func startSchedules(
	ctx context.Context,
	c *config.Valid,
	reg prometheus.Registerer,
	log zerolog.Logger,
) (stop func()) {
	if c.Schedules == nil {
		return func() {}
	}
	rdb, producer := openProducer(c.Target, c.Ring, c.QueueLimit)
	scheduler := schedule.New(schedule.Config{
		File:     c.Schedules,
		Redis:    rdb,
		Enqueuer: producer,
		Metrics:  reg,
		Log:      log,
	})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		scheduler.Run(ctx)
	})
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		closeQuietly(rdb)
	})
}

// openProducer opens a producer with connections of its own, because a tick with
// many subjects keeps them busy. They pipeline the scripts that enqueue.
func openProducer(
	target *redisconn.Target,
	ring *seal.Ring,
	limit settings.Count,
) (redis.UniversalClient, *broker.Producer) {
	rdb := target.Open(redisconn.General)
	broker.Batch(rdb)
	producer := broker.NewProducer(rdb, record.New(rdb), ring)
	producer.RefuseWhenFull(int(limit))
	return rdb, producer
}
