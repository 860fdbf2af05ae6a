package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/apptest"
	"errand.internal/internal/redistest"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// process measures how fast a full queue is worked off by handlers that run do.
func process(b *testing.B, s system, l load, do func(ctx context.Context)) figures {
	b.Helper()
	server := redistest.New(b)
	produce(b, 8, tasksARound, s.producer(b, server))
	rdb := open(b, server)
	tick, done := countdown(tasksARound)
	m := start(b, rdb)
	stop := s.start(b, server, l, func(ctx context.Context) {
		do(ctx)
		tick()
	})
	<-done
	f := m.stop(tasksARound)
	stop()
	f.bytes = 0
	return f
}

// enqueue measures how fast some goroutines enqueue.
func enqueue(b *testing.B, s system, goroutines int) figures {
	b.Helper()
	server := redistest.New(b)
	rdb := open(b, server)
	one := s.producer(b, server)
	produce(b, 1, 10, one) // connections, scripts and the set of queues
	m := start(b, rdb)
	produce(b, goroutines, tasksARound, one)
	f := m.stop(tasksARound)
	f.bytes = 0
	return f
}

// vendorCalls are n validated tasks of a vendor's.
func vendorCalls(n int) []danaconnect.APICall {
	repeatable := true
	list := make([]danaconnect.APICall, n)
	for i := range list {
		list[i] = danaconnect.APICall{
			Method:     http.MethodPost,
			Path:       "records",
			Body:       map[string]any{"name": "somebody", "mail": "somebody@example.com", "row": i},
			Idempotent: &repeatable,
		}
	}
	return list
}

func enqueueAll(b *testing.B, client *tasks.Client, list []danaconnect.APICall) {
	b.Helper()
	if _, err := tasks.EnqueueAll(b.Context(), client, list, nil); err != nil {
		b.Fatal(err)
	}
}

// bulk measures how fast a list is enqueued in one call: checked, sealed, each task with
// a ticket of its own.
func bulk(b *testing.B) figures {
	b.Helper()
	f := apptest.New(b)
	f.Environ["ENCRYPTION_KEYS"] = apptest.EncryptionKeys
	client := f.Client(b)
	enqueueAll(b, client, vendorCalls(10))
	list := vendorCalls(tasksARound)
	m := start(b, f.Redis.Client())
	enqueueAll(b, client, list)
	got := m.stop(tasksARound)
	got.bytes = 0
	return got
}

// vendor serves an API that answers each call after a while.
func vendor(b *testing.B, answerAfter time.Duration, called func()) (url string) {
	b.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if answerAfter > 0 {
			time.Sleep(answerAfter)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":4711}`)
		called()
	}))
	b.Cleanup(server.Close)
	return server.URL
}

// poster posts to a vendor as an HTTP client does that is tuned for many calls.
func poster(b *testing.B, answerAfter time.Duration) func(ctx context.Context) {
	b.Helper()
	url := vendor(b, answerAfter, func() {})
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 256,
	}
	b.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	return func(ctx context.Context) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(payload)))
		if err != nil {
			b.Error(err)
			return
		}
		response, err := client.Do(request)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

// call measures how fast a whole worker makes the calls of a vendor's client.
func call(b *testing.B, answerAfter time.Duration) figures {
	b.Helper()
	f := apptest.New(b)
	f.Only("danaconnect")
	tick, done := countdown(tasksARound)
	f.Environ["DANACONNECT_API_URL"] = vendor(b, answerAfter, tick) + "/api/2.0/"
	f.Environ["WORKER_QUEUES"] = "danaconnect=200"
	enqueueAll(b, f.Client(b), vendorCalls(tasksARound))
	m := start(b, f.Redis.Client())
	w := f.Start(b)
	<-done
	got := m.stop(tasksARound)
	if err := w.Stop(); err != nil {
		b.Error(err)
	}
	got.bytes = 0
	return got
}

// errandKeyed is Errand with a key for each task.
var errandKeyed = system{producer: enqueueErrand(keyed), start: startErrand}

// retained is plain asynq that keeps ended tasks.
var retained = system{producer: enqueuePlain(asynq.Retention(24 * time.Hour)), start: startPlain}

// keep measures the bytes that tasks take in Redis: queued, or ended.
func keep(b *testing.B, s system, ended bool) figures {
	b.Helper()
	server := redistest.New(b)
	rdb := open(b, server)
	one := s.producer(b, server)
	produce(b, 1, 10, one)
	m := start(b, rdb)
	produce(b, 8, tasksARound, one)
	if ended {
		drain(b, s, server, tasksARound+10)
	}
	return m.stop(tasksARound)
}

// drain has a server's tasks end with a result.
func drain(b *testing.B, s system, server *redistest.Server, n int) {
	b.Helper()
	tick, done := countdown(n)
	l := load{concurrency: 50, result: map[string]string{"id": "4711", "status": "accepted"}}
	stop := s.start(b, server, l, func(context.Context) { tick() })
	<-done
	stop()
}

// BenchmarkKeys measures what is left of an ended task after its result has expired: its
// key, so that it is not asked for twice. It is measured in a Redis that has nothing else:
// one that has lost most of its keys keeps the hash tables that it had for them.
func BenchmarkKeys(b *testing.B) {
	var all []figures
	for range rounds(b) {
		server := redistest.New(b)
		rdb := open(b, server)
		produce(b, 8, tasksARound, errandKeyed.producer(b, server))
		drain(b, errandKeyed, server, tasksARound)
		rest := open(b, redistest.New(b))
		m := start(b, rest)
		if n := copyKeys(b, rdb, rest); n != tasksARound {
			b.Fatalf("%d keys are left of %d tasks", n, tasksARound)
		}
		all = append(all, m.stop(tasksARound))
	}
	b.ReportMetric(median(all, func(f figures) float64 { return f.bytes }), "B/task")
	b.ReportMetric(0, "ns/op")
}

// copyKeys copies the keys that producers gave, as they are, and returns how many.
func copyKeys(b *testing.B, from, to *redis.Client) (n int) {
	b.Helper()
	keys := from.Scan(b.Context(), 0, "*:key:*", 1000).Iterator()
	for ; keys.Next(b.Context()); n++ {
		name := keys.Val()
		value, err := from.Dump(b.Context(), name).Result()
		if err != nil {
			b.Fatal(err)
		}
		if err := to.Restore(b.Context(), name, from.PTTL(b.Context(), name).Val(), value).Err(); err != nil {
			b.Fatal(err)
		}
	}
	if err := keys.Err(); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkIdleLatency measures the time from enqueueing to the handler while the
// worker is idle.
func BenchmarkIdleLatency(b *testing.B) {
	for _, s := range []struct {
		name string
		system
	}{{"errand", errand}, {"asynq", plain}} {
		b.Run(s.name, func(b *testing.B) {
			server := redistest.New(b)
			ran := make(chan time.Time, 1)
			stop := s.start(b, server, load{concurrency: 10}, func(context.Context) { ran <- time.Now() })
			defer stop()
			reportLatency(b, latencies(b, 200*rounds(b), s.producer(b, server), ran))
		})
	}
}

// latencies measures n times how long after enqueue it has run.
func latencies(b *testing.B, n int, enqueue func() error, ran <-chan time.Time) []time.Duration {
	b.Helper()
	took := make([]time.Duration, 0, n)
	for range n {
		began := time.Now()
		if err := enqueue(); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-ran).Sub(began))
	}
	return took
}

// BenchmarkPasscode measures how long a passcode takes while the worker works off a long
// queue of other tasks with all its slots.
func BenchmarkPasscode(b *testing.B) {
	others := 10_000 * rounds(b)
	server := redistest.New(b)
	produce(b, 32, others, enqueueErrand(elsewhere)(b, server))
	ran := make(chan time.Time, 1)
	var left atomic.Int64
	left.Store(int64(others))
	stop := startErrand(b, server, load{concurrency: 10, others: 200}, func(ctx context.Context) {
		if !strings.HasPrefix(worker.TaskID(ctx), queue+"_") {
			left.Add(-1)
			return
		}
		ran <- time.Now()
	})
	defer stop()
	one := errand.producer(b, server)
	var took []time.Duration
	for left.Load() > int64(others/20) { // full concurrency until then
		took = append(took, latencies(b, 1, one, ran)...)
	}
	b.ReportMetric(float64(len(took)), "passcodes")
	reportLatency(b, took)
}
