package redisconn

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// FailoverDetector notices when clients connect to another Redis process than
// before: one that was restarted, or a replica that was promoted. Either may
// have lost the latest writes. The zero value is ready to use.
type FailoverDetector struct {
	mu        sync.Mutex
	known     map[string]bool // by run_id
	firstSeen time.Time
	notify    []func()
}

// discoveryTime is how long after its first connection the client of a cluster
// may still discover nodes.
const discoveryTime = 10 * time.Second

// OnFailover has f called whenever a client connects to an instance that was not
// there at the start. f must not use Redis: the new connection waits for it.
func (d *FailoverDetector) OnFailover(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = append(d.notify, f)
}

// onConnect asks each new connection for the run_id of its server.
func (d *FailoverDetector) onConnect(mode Mode) func(context.Context, *redis.Conn) error {
	return func(ctx context.Context, conn *redis.Conn) error {
		info, err := conn.Info(ctx, "server").Result()
		if _, refused := errors.AsType[redis.Error](err); refused {
			return nil // a server that refuses INFO counts as the known one
		}
		if err != nil {
			return err // the reply may still arrive, so the connection is unusable
		}
		_, id, ok := strings.Cut(info, "\nrun_id:")
		if id, _, _ = strings.Cut(id, "\r"); ok && id != "" {
			d.observe(id, mode)
		}
		return nil
	}
}

func (d *FailoverDetector) observe(runID string, mode Mode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[runID] {
		return
	}
	if d.known == nil {
		d.known = map[string]bool{}
		d.firstSeen = time.Now()
	}
	discovering := mode == Cluster && time.Since(d.firstSeen) <= discoveryTime
	isNew := len(d.known) > 0 && !discovering
	d.known[runID] = true
	if !isNew {
		return
	}
	for _, f := range d.notify {
		f()
	}
}
