package tasks_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/tokens"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// workFor starts a Redis, and a worker for all queues whose clients are made from
// settings, as in production.
func workFor(t *testing.T, cfg vendors.Config) *tasks.Client {
	t.Helper()
	server := redistest.New(t)
	rdb := func() redis.UniversalClient {
		c := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	accounts, err := cfg.Open(
		vendors.Shared{
			Redis:   rdb(),
			Observe: func(clients.Observation) {},
			Options: []tokens.Option{tokens.WithCoolDowns(2 * time.Second)},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(accounts.Close)
	defs, queues := tasks.Definitions(accounts.Vendors), map[string]int{}
	for _, d := range defs {
		queues[d.Base.Queue] = 10
	}
	worker, err := queue.NewServer(queue.Config{
		Redis:       rdb(),
		General:     rdb(),
		Store:       ledger.New(rdb()),
		Credentials: accounts.Parkable(),
		Queues:      queues,
		Definitions: defs,
		Owner:       fmt.Sprint("test-", time.Now().UnixNano()),
		Timeout:     func(string) time.Duration { return 2 * time.Second },
		Grace:       10 * time.Second,
		LookupPause: time.Millisecond,
		Metrics:     queue.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.New(io.Discard),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Shutdown)
	return open(t, server.URL())
}

// goldenRequest runs a type's golden payload to its end, done, and compares the
// one request of op that came to the sandbox. clean takes out what differs from
// day to day.
func goldenRequest(
	t *testing.T,
	c *tasks.Client,
	taskType string,
	sb *sandbox.Engine,
	op string,
	clean ...func(string) string,
) {
	t.Helper()
	file := strings.ReplaceAll(taskType, ":", "_")
	ticket, err := c.EnqueueJSON(
		t.Context(),
		taskType,
		clientstest.ReadFile(t, filepath.Join("testdata", file+".json")),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, ticket); err != nil {
		t.Errorf("%s: %v", taskType, err)
	}
	requests := sb.Requests(op)
	if len(requests) != 1 {
		t.Fatalf("%s: %d requests, want 1", taskType, len(requests))
	}
	r := requests[0]
	text := r.Method + " " + r.URI + "\nContent-Type: " + r.Header.Get("Content-Type") + "\n\n" + string(r.Body)
	for _, f := range clean {
		text = f(text)
	}
	clientstest.GoldenText(t, filepath.Join("testdata", "requests", file+".txt"), text)
}

func TestEveryTypeHasAGoldenRequest(t *testing.T) {
	t.Parallel()
	for _, info := range tasks.Types() {
		file := filepath.Join("testdata", "requests", strings.ReplaceAll(info.Type, ":", "_")+".txt")
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: no test compares its request: call goldenRequest and run make golden", info.Type)
		}
	}
}
