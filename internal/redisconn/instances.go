package redisconn

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Instances notices when clients come to talk to another Redis process than
// before: one that was started anew, or a replica that has taken over. Either may
// have forgotten the last moment before. The zero value is ready to use.
type Instances struct {
	mu     sync.Mutex
	known  map[string]bool // by run_id
	began  time.Time
	notify []func()
}

// firstLook is how long after its first connection a client of a cluster is
// still getting to know the nodes.
const firstLook = 10 * time.Second

// OnNew has f called whenever another instance is met than those at the start.
// f must not wait for Redis: the connection that met it waits for f.
func (i *Instances) OnNew(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.notify = append(i.notify, f)
}

// onConnect asks each new connection whom it leads to.
func (i *Instances) onConnect(mode Mode) func(context.Context, *redis.Conn) error {
	return func(ctx context.Context, conn *redis.Conn) error {
		info, err := conn.Info(ctx, "server").Result()
		if _, refused := errors.AsType[redis.Error](err); refused {
			return nil // one that does not tell is taken for the old one
		}
		if err != nil {
			return err // the reply may still come: the connection is of no use
		}
		_, id, ok := strings.Cut(info, "\nrun_id:")
		if id, _, _ = strings.Cut(id, "\r"); ok && id != "" {
			i.met(id, mode)
		}
		return nil
	}
}

func (i *Instances) met(id string, mode Mode) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known[id] {
		return
	}
	if i.known == nil {
		i.known, i.began = map[string]bool{}, time.Now()
	}
	isNew := len(i.known) > 0 && (mode != Cluster || time.Since(i.began) > firstLook)
	i.known[id] = true
	if !isNew {
		return
	}
	for _, f := range i.notify {
		f()
	}
}
