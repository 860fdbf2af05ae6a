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
)

// writes counts what a client sends: each write to a connection begins a round
// trip.
type writes struct{ atomic.Int64 }

func (w *writes) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		return &writer{conn, w}, err
	}
}

func (*writes) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (*writes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

type writer struct {
	net.Conn
	count *writes
}

func (w *writer) Write(b []byte) (int, error) {
	w.count.Add(1)
	return w.Conn.Write(b)
}

// The connections on which a worker enqueues its ticks send many tasks in one
// round trip, although each is two scripts, one after the other.
func TestATickIsPipelined(t *testing.T) {
	t.Parallel()
	const n = 2000
	dir := t.TempDir()
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "u-%d\n", i)
	}
	for name, content := range map[string]string{"users.txt": list.String(), "s.yaml": `schedules:
  - name: many
    every: 1h
    type: anna:messenger:alerts
    forEach: {userId: "@users.txt"}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := schedule.Load(filepath.Join(dir, "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	target, err := redisconn.Parse(redistest.New(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb, producer := openProducer(target, nil)
	defer closeQuietly(rdb)
	sent := &writes{}
	rdb.AddHook(sent)
	ran, err := schedule.RunNow(t.Context(), file.Schedules[0], rdb, producer)
	if err != nil || ran.Enqueued != n {
		t.Fatalf("%+v, %v", ran, err)
	}
	t.Logf("%d tasks in %d writes", n, sent.Load())
	if most := int64(n / 4); sent.Load() > most {
		t.Errorf("%d tasks took %d writes to Redis, want at most %d", n, sent.Load(), most)
	}
}
