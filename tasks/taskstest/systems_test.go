package taskstest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
	"errand.internal/tasks/taskstest"
)

// client is what both clients have.
type client interface {
	tasks.Enqueuer
	Status(ctx context.Context, id string) (*tasks.Status, error)
	Cancel(ctx context.Context, id string) error
	FindKey(ctx context.Context, info tasks.Info, key string) (string, tasks.Outcome, error)
	Close() error
}

var (
	_ client = (*tasks.Client)(nil)
	_ client = (*taskstest.Client)(nil)
)

// system is a client whose tasks a test can end.
type system struct {
	client
	// end ends the task that was enqueued first of those of its queue that have not ended.
	end func(t *testing.T, id string, e taskstest.Ending)
	// expire has tasks end whose time is up.
	expire func(t *testing.T)
}

// onBoth runs a test with the true client and with the one in memory.
func onBoth(t *testing.T, test func(t *testing.T, s system)) {
	t.Helper()
	t.Run("true", func(t *testing.T) {
		t.Parallel()
		test(t, newTrue(t))
	})
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		c := taskstest.New()
		test(t, system{
			client: c,
			end: func(t *testing.T, id string, e taskstest.Ending) {
				t.Helper()
				if err := c.End(id, e); err != nil {
					t.Fatal(err)
				}
			},
			expire: func(*testing.T) {},
		})
	})
}

var queues = map[string]int{"otp": 10, "danaconnect": 10, "anna": 10, "dinero": 10}

func newTrue(t *testing.T) system {
	t.Helper()
	server := redistest.New(t)
	c, err := tasks.Open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	rdb := open(t, server)
	taker, err := broker.NewServer(broker.Config{
		Redis:   rdb,
		General: rdb,
		Queues:  queues,
		Owner:   "w1",
		Hold:    time.Minute,
		Log:     zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return system{
		client: c,
		end: func(t *testing.T, id string, e taskstest.Ending) {
			t.Helper()
			endTrue(t, taker, id, e)
		},
		expire: func(t *testing.T) {
			t.Helper()
			startWorker(t, server)
		},
	}
}

// open returns a connection for one server: each adds hooks of its own.
func open(t *testing.T, server *redistest.Server) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func endTrue(t *testing.T, taker *broker.Server, id string, e taskstest.Ending) {
	t.Helper()
	queue, err := record.QueueOf(id)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := taker.Take(t.Context(), queue, 1)
	if err != nil || len(claims) != 1 || claims[0].ID != id || claims[0].Verdict != broker.Run {
		t.Fatalf("took %+v, %v, to end %s", claims, err, id)
	}
	result := broker.Result{
		Outcome: e.Outcome,
		Code:    e.Code,
		Message: e.Message,
	}
	if !slices.Contains([]tasks.Outcome{tasks.Superseded, tasks.Expired}, e.Outcome) {
		result.Attempt = &record.Attempt{
			At:      time.Now(),
			Class:   string(e.Outcome),
			Code:    e.Code,
			Message: e.Message,
		}
	}
	if e.Result != nil {
		raw, err := json.Marshal(e.Result)
		if err != nil {
			t.Fatal(err)
		}
		result.Data = broker.SealResult(nil, claims[0].Type, id, raw)
	}
	if err := claims[0].End(result); err != nil {
		t.Fatal(err)
	}
}

// startWorker starts a worker without accounts: it ends nothing but what is out of time.
func startWorker(t *testing.T, server *redistest.Server) {
	t.Helper()
	rdb := open(t, server)
	w, err := worker.NewServer(worker.Config{
		Redis:       rdb,
		General:     rdb,
		Queues:      queues,
		Definitions: all.Vendors.Definitions(),
		Owner:       fmt.Sprint("test-", time.Now().UnixNano()),
		Timeout:     func(string) time.Duration { return time.Second },
		Grace:       10 * time.Second,
		Metrics:     worker.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Shutdown)
}
