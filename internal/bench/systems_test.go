package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"errand.internal/internal/apptest"
	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/worker"
)

// queue is the queue of the tasks. A worker may serve others besides, which are empty.
const queue = "otp"

// payload is about as long as that of a passcode.
var payload = []byte(`{"idConversation":4711,"values":[{"key":"COD1_EMAIL","value":"somebody@example.com"}],"type":1,"length":6}`)

// system is what a load is put on.
type system struct {
	producer func(b *testing.B, server *redistest.Server) (enqueue func() error)
	start    func(b *testing.B, server *redistest.Server, l load, do func(ctx context.Context)) (stop func())
}

// The systems.
var (
	errand = system{producer: enqueueErrand(job), start: startErrand}
	plain  = system{producer: enqueuePlain(), start: startPlain}
)

// load says which queues a worker serves, and how its tasks end.
type load struct {
	concurrency int
	others      int // concurrency of each other queue; 0: they are not served
	result      any
}

// queues are the queues of the load, with the concurrency of each.
func (l load) queues() map[string]int {
	queues := map[string]int{}
	if l.others > 0 {
		for _, name := range config.QueueNames() {
			queues[name] = l.others
		}
	}
	queues[queue] = l.concurrency
	return queues
}

func enqueuePlain(options ...asynq.Option) func(*testing.B, *redistest.Server) func() error {
	return func(b *testing.B, server *redistest.Server) func() error {
		b.Helper()
		client := asynq.NewClientFromRedisClient(open(b, server))
		options := append(options, asynq.Queue(queue))
		return func() error {
			_, err := client.Enqueue(asynq.NewTask("bench", payload), options...)
			return err
		}
	}
}

// enqueueErrand enqueues what next returns. Its payload is sealed.
func enqueueErrand(next func() broker.Job) func(*testing.B, *redistest.Server) func() error {
	return func(b *testing.B, server *redistest.Server) func() error {
		b.Helper()
		rdb := connect(b, server, redisconn.Producer)
		broker.Batch(rdb)
		producer := broker.NewProducer(rdb, record.New(rdb), ring(b))
		return func() error {
			_, err := producer.Enqueue(context.Background(), next())
			return err
		}
	}
}

func job() broker.Job {
	return broker.Job{
		Type:    "bench",
		Payload: payload,
		Policy:  policy(),
	}
}

// keyed is job with a key that no other has.
func keyed() broker.Job {
	j := job()
	j.Key = record.NewID(queue)
	return j
}

// elsewhere is a job of another queue.
func elsewhere() broker.Job {
	j := job()
	j.Policy.Queue = "danaconnect"
	return j
}

func policy() broker.Policy {
	return broker.Policy{
		Queue:      queue,
		Budget:     time.Hour,
		Redelivery: broker.AtLeastOnce,
	}
}

// ring seals payloads and results.
func ring(b *testing.B) *seal.Ring {
	b.Helper()
	keys, err := seal.Parse(apptest.EncryptionKeys)
	if err != nil {
		b.Fatal(err)
	}
	return keys
}

// benchPayload is the payload of the tasks.
type benchPayload struct{}

func (benchPayload) Type() string          { return "bench" }
func (benchPayload) Policy() broker.Policy { return policy() }

// startErrand starts a worker whose tasks run do.
func startErrand(b *testing.B, server *redistest.Server, l load, do func(ctx context.Context)) (stop func()) {
	b.Helper()
	s, err := worker.NewServer(worker.Config{
		Redis:   connect(b, server, redisconn.Servers),
		General: connect(b, server, redisconn.General),
		Queues:  l.queues(),
		Ring:    ring(b),
		Definitions: []worker.Definition{{
			Type:   "bench",
			Base:   policy(),
			Decode: func([]byte) (worker.Payload, error) { return benchPayload{}, nil },
			Run: func(ctx context.Context, _ worker.Payload) (any, error) {
				do(ctx)
				return l.result, nil
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
func startPlain(b *testing.B, server *redistest.Server, l load, do func(ctx context.Context)) (stop func()) {
	b.Helper()
	weights := map[string]int{}
	for name := range l.queues() {
		weights[name] = 1
	}
	s := asynq.NewServerFromRedisClient(open(b, server), asynq.Config{
		Concurrency:       l.concurrency,
		Queues:            weights,
		TaskCheckInterval: 25 * time.Millisecond,
		LogLevel:          asynq.FatalLevel,
	})
	if err := s.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		do(ctx)
		if l.result == nil {
			return nil
		}
		raw, err := json.Marshal(l.result)
		if err != nil {
			return err
		}
		_, err = t.ResultWriter().Write(raw)
		return err
	})); err != nil {
		b.Fatal(err)
	}
	return s.Shutdown
}
