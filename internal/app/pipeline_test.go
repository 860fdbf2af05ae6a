package app

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/schedule"
	"errand.internal/tasks/all"
)

// writeCounter counts a client's writes to its connections: each begins a round
// trip.
type writeCounter struct{ atomic.Int64 }

func (w *writeCounter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		return &countedConn{conn, w}, err
	}
}

func (*writeCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (*writeCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

type countedConn struct {
	net.Conn
	writes *writeCounter
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// A tick's connections send many tasks in one round trip, although each task takes
// two scripts, one after the other.
func TestTickIsPipelined(t *testing.T) {
	t.Parallel()
	const n = 2000
	dir := t.TempDir()
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "%d\n", i+1)
	}
	for name, content := range map[string]string{"organizations.txt": list.String(), "s.yaml": `schedules:
  - name: many
    every: 1h
    type: dinero:api:call
    payload: {method: GET, path: contacts}
    forEach: {organizationId: "@organizations.txt"}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := schedule.Load(filepath.Join(dir, "s.yaml"), all.Vendors)
	if err != nil {
		t.Fatal(err)
	}
	target, err := redisconn.Parse(redistest.New(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb, producer := openProducer(target, nil, 0)
	defer closeQuietly(rdb)
	sent := &writeCounter{}
	rdb.AddHook(sent)
	result, err := schedule.RunNow(t.Context(), file.Schedules[0], rdb, producer)
	if err != nil || result.Enqueued != n {
		t.Fatalf("%+v, %v", result, err)
	}
	t.Logf("%d tasks in %d writes", n, sent.Load())
	if most := int64(n / 4); sent.Load() > most {
		t.Errorf("%d tasks took %d writes to Redis, want at most %d", n, sent.Load(), most)
	}
}
