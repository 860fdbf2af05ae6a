package bench

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
)

// tasksARound is how many tasks one round runs.
const tasksARound = 4000

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

func median[T any](all []T, of func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, one := range all {
		values[i] = of(one)
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
	m.memory = m.data()
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
		bytes:     (m.data() - m.memory) / float64(n),
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

// data is the memory of Redis' data, without the buffers of its connections.
func (m *meter) data() float64 {
	return m.info("used_memory:") - m.info("mem_clients_normal:")
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

// connect is a client as Errand's programs have it.
func connect(b *testing.B, server *redistest.Server, role redisconn.Role) redis.UniversalClient {
	b.Helper()
	target, err := redisconn.Parse(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	rdb := target.Open(role)
	b.Cleanup(func() { _ = rdb.Close() })
	return rdb
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

// reportLatency reports the quantiles of what was measured.
func reportLatency(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}
