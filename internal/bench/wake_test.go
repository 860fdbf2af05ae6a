package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/apptest"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// BenchmarkWake measures the time from the return of a handler until the end of the task
// is known to somebody who waits for it, or who begins to wait at that moment.
func BenchmarkWake(b *testing.B) {
	b.Run("before", func(b *testing.B) { wake(b, true) })
	b.Run("during", func(b *testing.B) { wake(b, false) })
}

func wake(b *testing.B, before bool) {
	b.Helper()
	server := redistest.New(b)
	end := make(chan struct{})
	stop := startErrand(b, server, load{concurrency: 10}, func(context.Context) { <-end })
	defer stop()
	rdb := open(b, server)
	producer := broker.NewProducer(rdb, record.New(rdb), ring(b))
	watcher := record.NewWatcher(record.New(open(b, server)))
	var took []time.Duration
	for range 200 * rounds(b) {
		ticket, err := producer.Enqueue(b.Context(), job())
		if err != nil {
			b.Fatal(err)
		}
		awaitField(b, rdb, ticket.ID, "owner")
		woken := make(chan error, 1)
		wait := func() {
			_, err := watcher.Wait(b.Context(), ticket.ID)
			woken <- err
		}
		if before {
			go wait()
			awaitField(b, rdb, ticket.ID, "waiting")
		}
		began := time.Now()
		end <- struct{}{}
		if !before {
			go wait()
		}
		if err := <-woken; err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	reportLatency(b, took)
}

// BenchmarkWakeOfMany measures the same while 1,000 tickets are waited for: the time from
// the return of each handler until its waiter knows the end.
func BenchmarkWakeOfMany(b *testing.B) {
	const waits = 1000
	server := redistest.New(b)
	next := make(chan struct{})
	var returned sync.Map // by task ID
	stop := startErrand(b, server, load{concurrency: 10}, func(ctx context.Context) {
		<-next
		returned.Store(worker.TaskID(ctx), time.Now())
	})
	defer stop()
	client, err := tasks.Open(server.URL(), tasks.EncryptionKeys(apptest.EncryptionKeys))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	rdb := open(b, server)
	producer := broker.NewProducer(rdb, record.New(rdb), ring(b))
	var took []time.Duration
	for range rounds(b) {
		woken := make(chan time.Duration, waits)
		for range waits {
			ticket, err := producer.Enqueue(b.Context(), job())
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				if _, err := client.Wait(b.Context(), ticket.ID); err != nil {
					b.Error(err)
				}
				began, _ := returned.Load(ticket.ID)
				woken <- time.Since(began.(time.Time))
			}()
		}
		testwait.Eventually(b, 30*time.Second, "all wait", func() bool {
			return len(rdb.PubSubChannels(b.Context(), "errand:done:*").Val()) == waits
		})
		for range waits {
			next <- struct{}{}
			time.Sleep(2 * time.Millisecond) // the load of a worker that calls a vendor
		}
		for range waits {
			took = append(took, <-woken)
		}
	}
	reportLatency(b, took)
}

// awaitField waits until a task's record has a field.
func awaitField(b *testing.B, rdb *redis.Client, id, name string) {
	b.Helper()
	testwait.Eventually(b, 10*time.Second, "the record has "+name, func() bool {
		return rdb.HExists(b.Context(), record.Key(queue, id), name).Val()
	})
}
