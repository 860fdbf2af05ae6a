package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

// BenchmarkSteps measures Redis' CPU in each step of a task that is simply done:
// enqueued by one of eight producers, taken with 31 others, ended while others end.
func BenchmarkSteps(b *testing.B) {
	ctx := context.Background()
	var enqueued, taken, ended []time.Duration
	for range rounds(b) {
		server := redistest.New(b)
		m := start(b, open(b, server))
		producer := errand.producer(b, server)
		general := connect(b, server, redisconn.General)
		s, err := broker.NewServer(broker.Config{
			Redis:   connect(b, server, redisconn.Servers),
			General: general,
			Queues:  map[string]int{queue: 200},
			Owner:   "bench",
			Hold:    time.Minute,
			Log:     zerolog.Nop(),
		})
		if err != nil {
			b.Fatal(err)
		}
		began := m.redisCPU()
		produce(b, 8, tasksARound, producer)
		after := m.redisCPU()
		enqueued = append(enqueued, (after-began)/tasksARound)
		var take, end time.Duration
		for {
			var claims []*broker.Claim
			began := m.redisCPU()
			for range 6 {
				some, err := s.Take(ctx, queue, 32)
				if err != nil && !errors.Is(err, redis.Nil) {
					b.Fatal(err)
				}
				claims = append(claims, some...)
			}
			after := m.redisCPU()
			if len(claims) == 0 {
				break
			}
			var all sync.WaitGroup
			for _, c := range claims {
				all.Go(func() {
					err := c.End(broker.Result{
						Attempt: &record.Attempt{At: c.Now(), Class: "done"},
						Counted: true,
						Outcome: record.Done,
					})
					if err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
			take += after - began
			end += m.redisCPU() - after
		}
		taken = append(taken, take/tasksARound)
		ended = append(ended, end/tasksARound)
	}
	for _, step := range []struct {
		name  string
		times []time.Duration
	}{{"enqueue", enqueued}, {"take", taken}, {"end", ended}} {
		slices.Sort(step.times)
		b.ReportMetric(float64(step.times[len(step.times)/2].Nanoseconds())/1000, fmt.Sprint(step.name, "-µs"))
	}
	b.ReportMetric(0, "ns/op")
}
