package broker

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// line is the connection of a goroutine that sends batches. It keeps one, which spares each
// batch the way to the pool and back, and go-redis' look whether Redis has closed it.
type line struct {
	rdb   redis.UniversalClient
	conn  *redis.Conn // nil for none
	since time.Time
}

// holdTime is how long a line keeps a connection that always has something to send.
const holdTime = time.Second

// unrepeated is a command that go-redis sends once, for want of another connection.
type unrepeated struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (unrepeated) NoRetry() bool { return true }

// exec sends commands in one pipeline. Each has its own error.
func (l *line) exec(ctx context.Context, calls []*joined) {
	if client, ok := l.rdb.(*redis.Client); ok && time.Since(l.since) > holdTime {
		l.release()
		l.conn, l.since = client.Conn(), time.Now()
	}
	if l.conn != nil {
		pipe := l.conn.Pipeline()
		for _, c := range calls {
			_ = pipe.Process(ctx, unrepeated{c.cmd})
		}
		_, _ = pipe.Exec(ctx)
		if !slices.ContainsFunc(calls, (*joined).unanswered) {
			return
		}
		l.release() // perhaps Redis had closed it before; a script may run twice
	}
	pipe := l.rdb.Pipeline()
	for _, c := range calls {
		_ = pipe.Process(ctx, c.cmd)
	}
	_, _ = pipe.Exec(ctx)
}

// release gives the connection back to the pool.
func (l *line) release() {
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.conn, l.since = nil, time.Time{}
}
