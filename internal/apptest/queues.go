package apptest

import (
	"fmt"
	"io"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// StartQueues runs the queues of all accounts without the rest of a worker, and
// with short pauses: a refused credential, pipe or organization rests for 2 s, and
// what may have happened is reconciled at once. It returns a client.
func (f *Fixture) StartQueues(t testing.TB) *tasks.Client {
	t.Helper()
	c, err := config.Load(f.Environ)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := c.Accounts.Open(account.Shared{
		Redis:     f.Redis.Client(),
		Observe:   func(clients.Observation) {},
		Admission: []admission.Option{admission.WithCoolDowns(2 * time.Second)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	queues := map[string]int{}
	for _, d := range opened.Definitions {
		queues[d.Base.Queue] = 10
	}
	server, err := worker.NewServer(worker.Config{
		Redis:       f.Redis.Client(),
		General:     f.Redis.Client(),
		Blockers:    opened.Blockers,
		Accounts:    opened.Names,
		Queues:      queues,
		Intervals:   config.Intervals,
		Definitions: opened.Definitions,
		Owner:       fmt.Sprint("test-", time.Now().UnixNano()),
		Timeout:     func(string) time.Duration { return 2 * time.Second },
		Grace:       10 * time.Second,
		LookupPause: time.Millisecond,
		Metrics:     worker.NewMetrics(prometheus.NewRegistry()),
		Log:         zerolog.New(io.Discard),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return f.Client(t)
}
