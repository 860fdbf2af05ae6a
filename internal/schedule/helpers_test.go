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

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// size is short, or in a long run (FLEET_LONG=1) long.
func size[T any](short, long T) T {
	if settings.Environ(os.Environ())["FLEET_LONG"] == "1" {
		return long
	}
	return short
}

// heap is what is in use after a full collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// site is a Redis with schedulers on it.
type site struct {
	t     *testing.T
	redis *redistest.Server
	store *ledger.Store
	book  *book
}

func newSite(t *testing.T) *site {
	t.Helper()
	server := redistest.New(t)
	return &site{
		t:     t,
		redis: server,
		store: ledger.New(server.Client()),
		book:  newBook(),
	}
}

func (s *site) client() *redis.Client {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr:                  s.redis.Addr(),
		ContextTimeoutEnabled: true,
		ReadTimeout:           time.Second,
		PoolSize:              50,
	})
	s.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// worker is a scheduler of the site and how it is doing.
type worker struct {
	*Scheduler
	line *line
	reg  *prometheus.Registry
	log  *lines
	page *page
	stop func()
}

// scheduler makes a scheduler that does not run yet.
func (s *site) scheduler(name string, file *File) *worker {
	s.t.Helper()
	w := &worker{line: &line{}, reg: prometheus.NewRegistry(), log: newLines()}
	rdb := s.client()
	rdb.AddHook(w.line)
	queue.Combine(rdb)
	w.page = s.book.page(name, queue.NewProducer(rdb, ledger.New(rdb), nil))
	w.Scheduler = New(Config{
		File:    file,
		Redis:   rdb,
		To:      w.page,
		Metrics: w.reg,
		Log:     zerolog.New(w.log),
	})
	return w
}

// run starts it; the test's end, or stop, ends it.
func (w *worker) run(t *testing.T) *worker {
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

func (w *worker) ticks(name, result string) int {
	return int(testutil.ToFloat64(w.metrics.ticks.WithLabelValues(name, result)))
}

func (w *worker) tasks(name, result string) int {
	return int(testutil.ToFloat64(w.metrics.tasks.WithLabelValues(name, result)))
}

// work runs the polls: each ends at once, done unless failing says otherwise.
func (s *site) work(failing error) {
	s.t.Helper()
	const taskType = "anna:messenger:alerts"
	server, err := queue.NewServer(queue.Config{
		Redis:   s.client(),
		General: s.client(),
		Queues:  map[string]int{"polls": 10},
		Store:   s.store,
		Owner:   "w-" + s.t.Name(),
		Definitions: []queue.Definition{{
			Type:   taskType,
			Vendor: "anna",
			Base:   tasks.MessengerAlerts{}.Policy(),
			Decode: func(raw []byte) (queue.Payload, error) { return tasks.DecodePayload(taskType, raw) },
			Run:    func(context.Context, queue.Payload) (any, error) { return nil, failing },
		}},
		Timeout: func(string) time.Duration { return 5 * time.Second },
		Grace:   10 * time.Second,
		Metrics: queue.NewMetrics(prometheus.NewRegistry()),
		Log:     zerolog.Nop(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(server.Shutdown)
}

// record waits for the end of a task.
func (s *site) record(id string) *ledger.Record {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	r, err := ledger.NewWatcher(s.store).Wait(ctx, id)
	if err != nil {
		s.t.Fatalf("wait for %s: %v", id, err)
	}
	return r
}

// set writes fields of a schedule's hash.
func (s *site) set(name string, fields ...any) {
	s.t.Helper()
	if err := s.redis.Client().HSet(s.t.Context(), stateKey(name), fields...).Err(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) now() time.Time {
	s.t.Helper()
	now, err := s.redis.Client().Time(s.t.Context()).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return now
}

// users makes a list for forEach.
func users(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("u%d", i)
	}
	return "forEach: {userId: [" + strings.Join(list, ", ") + "]}"
}
