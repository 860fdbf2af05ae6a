package schedule

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// size returns long in a long run (FLEET_LONG=1), short otherwise.
func size[T any](short, long T) T {
	if settings.Environ(os.Environ())["FLEET_LONG"] == "1" {
		return long
	}
	return short
}

// heap is the memory in use after a full garbage collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fixture is a Redis server, and records what its schedulers enqueue.
type fixture struct {
	t        *testing.T
	redis    *redistest.Server
	store    *record.Store
	recorder *recorder
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	server := redistest.New(t)
	return &fixture{
		t:        t,
		redis:    server,
		store:    record.New(server.Client()),
		recorder: newRecorder(),
	}
}

func (f *fixture) client() *redis.Client {
	f.t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr:                  f.redis.Addr(),
		ContextTimeoutEnabled: true,
		ReadTimeout:           time.Second,
		PoolSize:              50,
	})
	f.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// testScheduler is a scheduler whose connection, metrics and log a test can use.
type testScheduler struct {
	*Scheduler
	connection *connection
	reg        *prometheus.Registry
	log        *logRecorder
	recording  *recordingEnqueuer
	stop       func()
}

// scheduler makes a scheduler without starting it.
func (f *fixture) scheduler(name string, file *File) *testScheduler {
	f.t.Helper()
	w := &testScheduler{connection: &connection{}, reg: prometheus.NewRegistry(), log: newLogRecorder()}
	rdb := f.client()
	rdb.AddHook(w.connection)
	broker.Batch(rdb)
	w.recording = f.recorder.enqueuer(name, broker.NewProducer(rdb, record.New(rdb), nil))
	w.Scheduler = New(Config{
		File:     file,
		Redis:    rdb,
		Enqueuer: w.recording,
		Metrics:  w.reg,
		Log:      zerolog.New(w.log),
	})
	return w
}

// run starts the scheduler; stop, or the end of the test, stops it.
func (w *testScheduler) run(t *testing.T) *testScheduler {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(w.stop)
	return w
}

func (w *testScheduler) ticks(name, result string) int {
	return int(testutil.ToFloat64(w.metrics.ticks.WithLabelValues(name, result)))
}

func (w *testScheduler) tasks(name, result string) int {
	return int(testutil.ToFloat64(w.metrics.tasks.WithLabelValues(name, result)))
}

// take claims n tasks as a worker does, and returns the claims by task.
func (f *fixture) take(t *testing.T, n int) map[string]*broker.Claim {
	t.Helper()
	rdb := f.client()
	server, err := broker.NewServer(broker.Config{
		Redis:   rdb,
		General: rdb,
		Queues:  map[string]int{"reads": n},
		Owner:   "w",
		Log:     zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := server.Take(t.Context(), "reads", n)
	if err != nil || len(claims) != n {
		t.Fatalf("took %d tasks, %v", len(claims), err)
	}
	byID := map[string]*broker.Claim{}
	for _, c := range claims {
		byID[c.ID] = c
	}
	return byID
}

// startWorker runs the tasks of shop:stock:read. Each ends at once: done, or with an error.
func (f *fixture) startWorker(result error) {
	f.t.Helper()
	const taskType = "shop:stock:read"
	server, err := worker.NewServer(worker.Config{
		Redis:   f.client(),
		General: f.client(),
		Queues:  map[string]int{"reads": 10},
		Owner:   "w-" + f.t.Name(),
		Definitions: []worker.Definition{{
			Type:   taskType,
			Vendor: "shop",
			Base:   stockRead{}.Policy(),
			Decode: func(raw []byte) (worker.Payload, error) { return catalogue.Decode(taskType, raw) },
			Run:    func(context.Context, worker.Payload) (any, error) { return nil, result },
		}},
		Timeout: func(string) time.Duration { return 5 * time.Second },
		Grace:   10 * time.Second,
		Metrics: worker.NewMetrics(prometheus.NewRegistry()),
		Log:     zerolog.Nop(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(server.Shutdown)
}

// waitEnded waits for the end of a task.
func (f *fixture) waitEnded(id string) *record.Record {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	r, err := record.NewWatcher(f.store).Wait(ctx, id)
	if err != nil {
		f.t.Fatalf("wait for %s: %v", id, err)
	}
	return r
}

// setState writes fields of a schedule's hash.
func (f *fixture) setState(name string, fields ...any) {
	f.t.Helper()
	if err := f.redis.Client().HSet(f.t.Context(), stateKey(name), fields...).Err(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) now() time.Time {
	f.t.Helper()
	now, err := f.redis.Client().Time(f.t.Context()).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return now
}

// items is a forEach with n subjects.
func items(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("u%d", i)
	}
	return "forEach: {itemId: [" + strings.Join(list, ", ") + "]}"
}
