package redisconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// errConnsClosed is why a client whose connections were closed cannot connect.
var errConnsClosed = errors.New("the connections to Redis are closed, because the process shuts down")

// dialFunc makes a connection, as redis.Options.Dialer does.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// connTracker knows the open connections of one client.
type connTracker struct {
	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

// trackedConn is a connection that leaves its tracker when it is closed.
type trackedConn struct {
	net.Conn
	tracker *connTracker
	master  bool // newestMaster has it; the tracker's mutex guards this
}

// trackedSyscallConn gives go-redis access to the file descriptor, which it
// reads to see whether the peer has closed the connection. TLS has none.
type trackedSyscallConn struct {
	*trackedConn
	syscall.Conn
}

// dialer tracks the connections that dial makes.
func (t *connTracker) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if t.isClosed() {
			return nil, errConnsClosed
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tracked, err := t.add(conn)
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		if raw, ok := conn.(syscall.Conn); ok {
			return trackedSyscallConn{tracked, raw}, nil
		}
		return tracked, nil
	}
}

func (t *connTracker) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

func (t *connTracker) add(conn net.Conn) (*trackedConn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errConnsClosed
	}
	tracked := &trackedConn{Conn: conn, tracker: t}
	t.open[tracked] = struct{}{}
	return tracked, nil
}

// close closes all connections and prevents new ones.
func (t *connTracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for conn := range t.open {
		_ = conn.Conn.Close()
	}
	clear(t.open)
}

// toMaster notes that a connection leads to the master that sentinels name. It reports
// false if it was closed meanwhile.
func (t *connTracker) toMaster(conn net.Conn) bool {
	tracked, ok := conn.(*trackedConn)
	if raw, has := conn.(trackedSyscallConn); has {
		tracked, ok = raw.trackedConn, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, open := t.open[tracked]; !ok || !open {
		return false
	}
	tracked.master = true
	return true
}

// closeMasters closes the connections of toMaster.
func (t *connTracker) closeMasters() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn := range t.open {
		if conn.master {
			_ = conn.Conn.Close()
			delete(t.open, conn)
		}
	}
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}
