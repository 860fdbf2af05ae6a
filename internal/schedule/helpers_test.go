package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

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

// line is the connection of one scheduler to Redis, which a test can cut for
// good, as a crash does, or hold up, as a frozen process does.
type line struct {
	mu   sync.Mutex
	dead bool
	held chan struct{} // closed when it goes on; nil if it is not held
}

var errCut = errors.New("the line is cut")

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) freeze() (resume func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(chan struct{})
	l.held = held
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held = nil
		close(held)
	}
}

func (l *line) pass(ctx context.Context) error {
	l.mu.Lock()
	dead, held := l.dead, l.held
	l.mu.Unlock()
	if dead {
		return errCut
	}
	if held == nil {
		return nil
	}
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *line) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := l.pass(ctx); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (l *line) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := l.pass(ctx); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// ask is one thing that a scheduler asked the queue for.
type ask struct {
	slot    int64
	subject string
}

func parseKey(key string) ask {
	parts := strings.SplitN(key, "/", 4) // schedule/<name>/<slot>/<subject>
	slot, _ := strconv.ParseInt(strings.TrimPrefix(parts[2], "now-"), 10, 64)
	return ask{slot, parts[3]}
}

// book notes what all schedulers of a test asked for, and what came of it.
type book struct {
	mu      sync.Mutex
	ids     map[ask]map[string]bool
	overlap map[ask]int
	// counts[slot] is how many different subjects of it are in the queue.
	counts map[int64]int
	// changed is signalled after each entry.
	changed *sync.Cond
	// before, if set, is called before each request with the scheduler's name and
	// how many of this slot it has asked for.
	before func(scheduler string, a ask, nth int)
}

func newBook() *book {
	b := &book{ids: map[ask]map[string]bool{}, overlap: map[ask]int{}, counts: map[int64]int{}}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// page is the book as one scheduler writes it.
type page struct {
	*book
	name string
	to   Enqueuer

	mine sync.Mutex
	nth  map[int64]int
}

func (b *book) page(name string, to Enqueuer) *page {
	return &page{book: b, name: name, to: to, nth: map[int64]int{}}
}

func (p *page) Enqueue(ctx context.Context, job queue.Job) (queue.Ticket, error) {
	a := parseKey(job.Key)
	p.mine.Lock()
	p.nth[a.slot]++
	nth := p.nth[a.slot]
	p.mine.Unlock()
	if p.before != nil {
		p.before(p.name, a, nth)
	}
	ticket, err := p.to.Enqueue(ctx, job)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, ledger.ErrOverlap):
		p.overlap[a]++
	case err == nil:
		if p.ids[a] == nil {
			p.ids[a] = map[string]bool{}
			p.counts[a.slot]++
		}
		p.ids[a][ticket.ID] = true
	}
	p.changed.Broadcast()
	return ticket, err
}

// until waits for something to be true of the book.
func (b *book) until(t *testing.T, what string, true func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+size(30*time.Second, 2*time.Minute))
	defer cancel()
	stop := context.AfterFunc(ctx, b.changed.Broadcast)
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !true() {
		if ctx.Err() != nil {
			t.Fatalf("it never came to this: %s", what)
		}
		b.changed.Wait()
	}
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
	return &site{t: t, redis: server, store: ledger.New(server.Client()), book: newBook()}
}

func (s *site) client() *redis.Client {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), ContextTimeoutEnabled: true, ReadTimeout: time.Second, PoolSize: 50})
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
	w.page = s.book.page(name, queue.NewProducer(rdb, ledger.New(rdb), nil))
	w.Scheduler = New(Config{File: file, Redis: rdb, To: w.page, Metrics: w.reg, Log: zerolog.New(w.log)})
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

// work runs the polls: each is done at once.
func (s *site) work() {
	s.t.Helper()
	const taskType = "anna:messenger:alerts"
	server, err := queue.NewServer(queue.Config{
		Redis: s.client(), General: s.client(), Queues: map[string]int{"polls": 10}, Store: s.store, Owner: "w-" + s.t.Name(),
		Definitions: []queue.Definition{{
			Type: taskType, Vendor: "anna", Base: tasks.MessengerAlerts{}.Defaults(),
			Decode: func(raw []byte) (queue.Payload, error) { return tasks.DecodePayload(taskType, raw) },
			Run:    func(context.Context, queue.Payload) (any, error) { return nil, nil },
		}},
		Timeout: func(string) time.Duration { return 5 * time.Second }, Grace: 10 * time.Second,
		Metrics: queue.NewMetrics(prometheus.NewRegistry()), Log: zerolog.Nop(),
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

// lines is a log that can be waited on.
type lines struct {
	mu      sync.Mutex
	all     []map[string]any
	changed *sync.Cond
}

func newLines() *lines {
	l := &lines{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := map[string]any{}
	if err := json.Unmarshal(bytes.TrimSpace(p), &entry); err != nil {
		return 0, err
	}
	l.all = append(l.all, entry)
	l.changed.Broadcast()
	return len(p), nil
}

// wait returns the n-th line (from 1) with a message.
func (l *lines) wait(t *testing.T, message string, n int) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, l.changed.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		seen := 0
		for _, entry := range l.all {
			if entry["message"] == message {
				if seen++; seen == n {
					return entry
				}
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the log never said %q %d times: %v", message, n, l.all)
		}
		l.changed.Wait()
	}
}

func (l *lines) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, entry := range l.all {
		if entry["message"] == message {
			n++
		}
	}
	return n
}

// users makes a list for forEach.
func users(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("u%d", i)
	}
	return "forEach: {userId: [" + strings.Join(list, ", ") + "]}"
}
