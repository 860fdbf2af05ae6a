package redisconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// errCut is why a client that was cut has no connection.
var errCut = errors.New("the connections to Redis are cut, because the process ends")

// dialFunc makes a connection, as redis.Options.Dialer does.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// wires are the open connections of one client.
type wires struct {
	mu    sync.Mutex
	open  map[*wire]struct{}
	isCut bool
}

// wire is an open connection that forgets itself when it is closed.
type wire struct {
	net.Conn
	of *wires
}

// rawWire is a wire whose file descriptor go-redis can look at, to see whether
// the other side has hung up. TLS has none.
type rawWire struct {
	*wire
	syscall.Conn
}

// dialer notes the connections that dial makes.
func (w *wires) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.mu.Lock()
		isCut := w.isCut
		w.mu.Unlock()
		if isCut {
			return nil, errCut
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		noted := &wire{Conn: conn, of: w}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.isCut {
			_ = conn.Close()
			return nil, errCut
		}
		w.open[noted] = struct{}{}
		if raw, ok := conn.(syscall.Conn); ok {
			return rawWire{noted, raw}, nil
		}
		return noted, nil
	}
}

// cut closes all connections and makes no more.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for conn := range w.open {
		_ = conn.Conn.Close()
	}
	clear(w.open)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.of.mu.Lock()
	delete(w.of.open, w)
	w.of.mu.Unlock()
	return w.Conn.Close()
}
