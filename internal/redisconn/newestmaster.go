package redisconn

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// newestMaster is a hook of a client that sentinels lead to its master: it keeps no
// connection to the master before. go-redis closes those that it has when it learns of
// another master, but not one that is being made at that moment. What is written to it
// is lost: the old master takes writes until it is demoted.
type newestMaster struct {
	tracker *connTracker

	mu     sync.Mutex
	begun  int // dials
	newest int // of the dials that have led somewhere, the one that began last
	addr   string
}

// errOvertaken is why a connection is not used.
var errOvertaken = errors.New("the sentinels have named another master meanwhile")

// DialHook implements redis.Hook.
func (m *newestMaster) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		turn := m.begin()
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if !m.arrive(turn, conn) {
			_ = conn.Close()
			return nil, &net.OpError{Op: "dial", Net: network, Addr: conn.RemoteAddr(), Err: errOvertaken}
		}
		return conn, nil
	}
}

// ProcessHook implements redis.Hook.
func (m *newestMaster) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return next
}

// ProcessPipelineHook implements redis.Hook.
func (m *newestMaster) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// begin returns the turn of a dial.
func (m *newestMaster) begin() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun++
	return m.begun
}

// arrive notes where a dial has led. It reports false if a later one has led elsewhere.
func (m *newestMaster) arrive(turn int, conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	addr := conn.RemoteAddr().String()
	if turn < m.newest {
		return addr == m.addr && m.tracker.toMaster(conn)
	}
	m.newest = turn
	if addr != m.addr {
		m.addr = addr
		m.tracker.closeMasters()
	}
	return m.tracker.toMaster(conn)
}
