package app

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/monitor"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// runningSchedules are the schedules of a worker.
type runningSchedules struct {
	// scheduler is nil without a schedule file.
	scheduler *schedule.Scheduler
	redis     redis.UniversalClient
}

// newSchedules reads the schedules without running them. The caller must close them.
func newSchedules(c *config.Valid, reg prometheus.Registerer, log zerolog.Logger) *runningSchedules {
	if c.Schedules == nil {
		return &runningSchedules{}
	}
	rdb, producer := openProducer(c.Target, c.Ring, c.QueueLimit)
	return &runningSchedules{
		redis: rdb,
		scheduler: schedule.New(schedule.Config{
			File:     c.Schedules,
			Redis:    rdb,
			Enqueuer: producer,
			Metrics:  reg,
			Log:      log,
		}),
	}
}

// start runs the schedules until ctx ends or stop is called. stop waits until they have
// ended; it may be called more than once.
func (s *runningSchedules) start(ctx context.Context) (stop func()) {
	if s.scheduler == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		s.scheduler.Run(ctx)
	})
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

func (s *runningSchedules) close() {
	if s.redis != nil {
		closeQuietly(s.redis)
	}
}

// list lists the schedules for the web UI.
func (s *runningSchedules) list(ctx context.Context) ([]monitor.Schedule, error) {
	if s.scheduler == nil {
		return nil, nil
	}
	now, err := s.redis.Time(ctx).Result()
	if err != nil {
		return nil, err
	}
	var all []monitor.Schedule
	for _, one := range s.scheduler.Schedules() {
		tick, err := schedule.LastTick(ctx, s.redis, one.Name)
		if err != nil {
			return nil, err
		}
		next := one.Next(now)
		entry := monitor.Schedule{
			Name:    one.Name,
			When:    one.When(),
			Type:    one.Type,
			Payload: maskPayload(one.Type, one.FirstPayload()),
			Options: []string{fmt.Sprintf("tasks a tick: %d", one.Subjects())},
			Next:    next,
		}
		if one.Spread > 0 {
			entry.Options = append(entry.Options, "spread over "+one.Spread.String())
		}
		if !tick.Last.IsZero() {
			entry.Last = tick.Last.In(next.Location())
			entry.Enqueued = tick.Finished.In(next.Location())
		}
		all = append(all, entry)
	}
	return all, nil
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
