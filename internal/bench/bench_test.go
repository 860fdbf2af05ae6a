package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
	"errand.internal/internal/worker"
)

// queue is the queue of all benchmarks.
const queue = "otp"

// tasks is how many tasks one round runs.
const tasks = 4000

// rounds is how many rounds a benchmark takes the median of.
func rounds(b *testing.B) int {
	b.Helper()
	text := os.Getenv("ITERATIONS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("ITERATIONS=%q is not a number of rounds", text)
	}
	return n
}

// figures are the figures of one round.
type figures struct {
	perSecond float64
	client    time.Duration // CPU a task
	redis     time.Duration // CPU a task
	bytes     float64       // of Redis a task
}

func (f figures) cpu() time.Duration { return f.client + f.redis }

// compare reports the medians of both, and of the ratios of each round.
func compare(b *testing.B, errand, plain func() figures) {
	b.Helper()
	var ours, theirs []figures
	for range rounds(b) {
		theirs = append(theirs, plain())
		ours = append(ours, errand())
	}
	report := func(unit string, of func(figures) float64) {
		b.ReportMetric(median(ours, of), unit)
		b.ReportMetric(median(theirs, of), "asynq-"+unit)
	}
	report("tasks/s", func(f figures) float64 { return f.perSecond })
	report("client-µs", func(f figures) float64 { return float64(f.client.Nanoseconds()) / 1000 })
	report("redis-µs", func(f figures) float64 { return float64(f.redis.Nanoseconds()) / 1000 })
	if ours[0].bytes > 0 {
		report("B/task", func(f figures) float64 { return f.bytes })
	}
	ratios := make([]figures, len(ours))
	for i := range ours {
		ratios[i].perSecond = ours[i].perSecond / theirs[i].perSecond
		ratios[i].bytes = float64(ours[i].cpu()) / float64(theirs[i].cpu())
	}
	b.ReportMetric(median(ratios, func(f figures) float64 { return f.perSecond }), "x-asynq")
	b.ReportMetric(median(ratios, func(f figures) float64 { return f.bytes }), "x-asynq-cpu")
	b.ReportMetric(0, "ns/op")
}

func median(all []figures, of func(figures) float64) float64 {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// meter measures CPU and time from its start.
type meter struct {
	b      *testing.B
	rdb    *redis.Client
	began  time.Time
	client time.Duration
	redis  time.Duration
	memory float64
}

func start(b *testing.B, rdb *redis.Client) *meter {
	b.Helper()
	m := &meter{b: b, rdb: rdb}
	m.memory = m.info("used_memory:")
	m.redis = m.redisCPU()
	m.client = clientCPU(b)
	m.began = time.Now()
	return m
}

// stop returns the figures of n tasks.
func (m *meter) stop(n int) figures {
	m.b.Helper()
	took := time.Since(m.began)
	return figures{
		perSecond: float64(n) / took.Seconds(),
		client:    (clientCPU(m.b) - m.client) / time.Duration(n),
		redis:     (m.redisCPU() - m.redis) / time.Duration(n),
		bytes:     (m.info("used_memory:") - m.memory) / float64(n),
	}
}

func clientCPU(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func (m *meter) redisCPU() time.Duration {
	seconds := m.info("used_cpu_user:") + m.info("used_cpu_sys:")
	return time.Duration(seconds * float64(time.Second))
}

// info reads a number of Redis' INFO.
func (m *meter) info(name string) float64 {
	m.b.Helper()
	text, err := m.rdb.Info(context.Background(), "cpu", "memory").Result()
	if err != nil {
		m.b.Fatal(err)
	}
	_, value, _ := strings.Cut(text, "\n"+name)
	value, _, _ = strings.Cut(value, "\r")
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		m.b.Fatalf("INFO %s%q", name, value)
	}
	return n
}

// open is a client that no other part has left hooks on.
func open(b *testing.B, server *redistest.Server) *redis.Client {
	b.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 20})
	b.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// produce runs enqueue n times in some goroutines.
func produce(b *testing.B, goroutines, n int, enqueue func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := enqueue(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// payload is about as long as that of a passcode.
var payload = []byte(`{"idConversation":4711,"values":[{"key":"COD1_EMAIL","value":"somebody@example.com"}],"type":1,"length":6}`)

func enqueuePlain(rdb *redis.Client) func() error {
	client := asynq.NewClientFromRedisClient(rdb)
	return func() error {
		_, err := client.Enqueue(asynq.NewTask("bench", payload), asynq.Queue(queue))
		return err
	}
}

func enqueueErrand(rdb redis.UniversalClient) func() error {
	broker.Batch(rdb)
	producer := broker.NewProducer(rdb, record.New(rdb), nil)
	return func() error {
		_, err := producer.Enqueue(context.Background(), job())
		return err
	}
}

func job() broker.Job {
	return broker.Job{
		Type:    "bench",
		Payload: payload,
		Policy:  policy(),
	}
}

func policy() broker.Policy {
	return broker.Policy{
		Queue:      queue,
		Budget:     time.Hour,
		Redelivery: broker.AtLeastOnce,
	}
}

// benchPayload is the payload of the tasks.
type benchPayload struct{}

func (benchPayload) Type() string          { return "bench" }
func (benchPayload) Policy() broker.Policy { return policy() }

// countdown calls done once it was called n times.
func countdown(n int) (tick func(), done <-chan struct{}) {
	var left atomic.Int64
	left.Store(int64(n))
	closed := make(chan struct{})
	return func() {
		if left.Add(-1) == 0 {
			close(closed)
		}
	}, closed
}

// startErrand starts a worker whose tasks run do.
func startErrand(b *testing.B, server *redistest.Server, concurrency int, do func()) (stop func()) {
	b.Helper()
	s, err := worker.NewServer(worker.Config{
		Redis:   open(b, server),
		General: open(b, server),
		Queues:  map[string]int{queue: concurrency},
		Definitions: []worker.Definition{{
			Type:   "bench",
			Base:   policy(),
			Decode: func([]byte) (worker.Payload, error) { return benchPayload{}, nil },
			Run: func(context.Context, worker.Payload) (any, error) {
				do()
				return nil, nil
			},
		}},
		Owner:   fmt.Sprint("bench-", time.Now().UnixNano()),
		Timeout: func(string) time.Duration { return 5 * time.Second },
		Grace:   5 * time.Second,
		Metrics: worker.NewMetrics(prometheus.NewRegistry()),
		Log:     zerolog.New(io.Discard),
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	return s.Shutdown
}

// startPlain starts a plain asynq server.
func startPlain(b *testing.B, server *redistest.Server, concurrency int, do func()) (stop func()) {
	b.Helper()
	s := asynq.NewServerFromRedisClient(open(b, server), asynq.Config{
		Concurrency:       concurrency,
		Queues:            map[string]int{queue: 1},
		TaskCheckInterval: 25 * time.Millisecond,
		LogLevel:          asynq.FatalLevel,
	})
	if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		do()
		return nil
	})); err != nil {
		b.Fatal(err)
	}
	return s.Shutdown
}

// process measures how fast a full queue of tasks that do nothing is worked off.
func process(
	b *testing.B,
	concurrency int,
	enqueue func(rdb *redis.Client) func() error,
	run func(b *testing.B, server *redistest.Server, concurrency int, do func()) (stop func()),
) figures {
	b.Helper()
	server := redistest.New(b)
	produce(b, 8, tasks, enqueue(open(b, server)))
	rdb := open(b, server)
	tick, done := countdown(tasks)
	m := start(b, rdb)
	stop := run(b, server, concurrency, tick)
	<-done
	f := m.stop(tasks)
	stop()
	f.bytes = 0
	return f
}

func BenchmarkProcess(b *testing.B) {
	for _, concurrency := range []int{10, 50, 200} {
		b.Run(fmt.Sprint("c=", concurrency), func(b *testing.B) {
			compare(b, func() figures {
				return process(b, concurrency, func(rdb *redis.Client) func() error { return enqueueErrand(rdb) }, startErrand)
			}, func() figures {
				return process(b, concurrency, enqueuePlain, startPlain)
			})
		})
	}
}

func BenchmarkEnqueue(b *testing.B) {
	for _, goroutines := range []int{1, 8, 32} {
		b.Run(fmt.Sprint("g=", goroutines), func(b *testing.B) {
			measure := func(enqueue func(rdb *redis.Client) func() error) figures {
				server := redistest.New(b)
				rdb := open(b, server)
				one := enqueue(rdb)
				produce(b, 1, 10, one) // connections, scripts and the set of queues
				m := start(b, rdb)
				produce(b, goroutines, tasks, one)
				return m.stop(tasks)
			}
			compare(b, func() figures {
				return measure(func(rdb *redis.Client) func() error { return enqueueErrand(rdb) })
			}, func() figures {
				return measure(enqueuePlain)
			})
		})
	}
}

// BenchmarkEnded measures what an ended task still needs in Redis. Plain asynq, which
// keeps none, is given a retention here.
func BenchmarkEnded(b *testing.B) {
	measure := func(enqueue func(rdb *redis.Client) func() error,
		run func(b *testing.B, server *redistest.Server, concurrency int, do func()) (stop func()),
	) figures {
		server := redistest.New(b)
		rdb := open(b, server)
		one := enqueue(rdb)
		tick, done := countdown(tasks)
		m := start(b, rdb)
		produce(b, 8, tasks, one)
		stop := run(b, server, 50, tick)
		<-done
		stop()
		return m.stop(tasks)
	}
	compare(b, func() figures {
		return measure(func(rdb *redis.Client) func() error { return enqueueErrand(rdb) }, startErrand)
	}, func() figures {
		return measure(func(rdb *redis.Client) func() error {
			client := asynq.NewClientFromRedisClient(rdb)
			return func() error {
				_, err := client.Enqueue(asynq.NewTask("bench", payload), asynq.Queue(queue), asynq.Retention(24*time.Hour))
				return err
			}
		}, startPlain)
	})
}

// BenchmarkIdleLatency measures the time from enqueueing to the handler while the
// worker is idle.
func BenchmarkIdleLatency(b *testing.B) {
	server := redistest.New(b)
	ran := make(chan time.Time, 1)
	stop := startErrand(b, server, 10, func() { ran <- time.Now() })
	defer stop()
	one := enqueueErrand(open(b, server))
	var took []time.Duration
	for range 200 * rounds(b) {
		began := time.Now()
		if err := one(); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-ran).Sub(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

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
	stop := startErrand(b, server, 10, func() { <-end })
	defer stop()
	rdb := open(b, server)
	producer := broker.NewProducer(rdb, record.New(rdb), nil)
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
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// awaitField waits until a task's record has a field.
func awaitField(b *testing.B, rdb *redis.Client, id, name string) {
	b.Helper()
	testwait.Eventually(b, 10*time.Second, "the record has "+name, func() bool {
		return rdb.HExists(b.Context(), record.Key(queue, id), name).Val()
	})
}
