package worker_test

import (
	"context"
	"io"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/worker"
)

// BenchmarkAgainstAsynq drains the same number of no-op tasks through Errand's
// queue and through plain asynq with Retention and ResultWriter, in turn, at
// the same concurrency. It reports the median of the ratios: above 1 Errand is
// faster.
func BenchmarkAgainstAsynq(b *testing.B) {
	const concurrency, rounds = 50, 5
	perRound := max(b.N, 3000)
	var ratios, ours, theirs []float64
	for range rounds {
		t, o := drainAsynq(b, concurrency, perRound), drainErrand(b, concurrency, perRound)
		ours, theirs = append(ours, float64(perRound)/o.Seconds()), append(theirs, float64(perRound)/t.Seconds())
		ratios = append(ratios, t.Seconds()/o.Seconds())
	}
	b.ReportMetric(median(ratios), "x-asynq")
	b.ReportMetric(median(ours), "errand-tasks/s")
	b.ReportMetric(median(theirs), "asynq-tasks/s")
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}

const pollBench = 25 * time.Millisecond

func drainAsynq(b *testing.B, concurrency, n int) time.Duration {
	b.Helper()
	server := redistest.New(b)
	producer := asynq.NewClientFromRedisClient(server.Client())
	var fill sync.WaitGroup
	for range 8 {
		fill.Go(func() {
			for range n / 8 {
				if _, err := producer.Enqueue(asynq.NewTask("bench", []byte(`{"name":"x"}`)), asynq.Queue("otp"), asynq.Retention(time.Hour)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	fill.Wait()
	var left atomic.Int64
	left.Store(int64(n / 8 * 8))
	empty := make(chan struct{})
	worker := asynq.NewServerFromRedisClient(server.Client(), asynq.Config{
		Concurrency: concurrency, Queues: map[string]int{"otp": 1}, TaskCheckInterval: pollBench, LogLevel: asynq.FatalLevel,
	})
	start := time.Now()
	err := worker.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		if _, err := t.ResultWriter().Write([]byte(`{"n":1}`)); err != nil {
			return err
		}
		if left.Add(-1) == 0 {
			close(empty)
		}
		return nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	<-empty
	took := time.Since(start)
	worker.Shutdown()
	return took
}

func drainErrand(b *testing.B, concurrency, n int) time.Duration {
	b.Helper()
	server := redistest.New(b)
	rdb := server.Client()
	producer := broker.NewProducer(rdb, record.New(rdb), nil)
	var fill sync.WaitGroup
	for range 8 {
		fill.Go(func() {
			for range n / 8 {
				_, err := producer.Enqueue(context.Background(), broker.Job{
					Type: "bench", Payload: []byte(`{"name":"x"}`), Policy: broker.Policy{Queue: "otp", Budget: time.Hour, Retention: time.Hour},
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	fill.Wait()
	var left atomic.Int64
	left.Store(int64(n / 8 * 8))
	empty := make(chan struct{})
	servers, general := redis.NewClient(&redis.Options{Addr: server.Addr()}), redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = servers.Close() }()
	defer func() { _ = general.Close() }()
	s, err := worker.NewServer(worker.Config{
		Redis: servers, General: general, Queues: map[string]int{"otp": concurrency},
		Definitions: []worker.Definition{define("bench", broker.Policy{Queue: "otp", Retention: time.Hour}, func(context.Context, string) (any, error) {
			if left.Add(-1) == 0 {
				close(empty)
			}
			return map[string]int{"n": 1}, nil
		})},
		Owner: "bench", Timeout: func(string) time.Duration { return time.Second }, Grace: 5 * time.Second,
		Metrics: worker.NewMetrics(prometheus.NewRegistry()), Log: zerolog.New(io.Discard),
	})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	<-empty
	took := time.Since(start)
	s.Shutdown()
	return took
}
