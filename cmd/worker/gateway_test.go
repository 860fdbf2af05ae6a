package main

import (
	"io"
	"net"
	"sync"
	"testing"
)

// manner is how a gateway treats connections.
type manner int

const (
	// passing relays.
	passing manner = iota
	// refusing has nobody listen.
	refusing
	// hanging accepts and never answers.
	hanging
	// closing accepts and closes, as a proxy does that has no server.
	closing
	// alerting answers with a TLS alert and closes, as a TLS port does.
	alerting
)

// tlsAlert is a fatal "protocol version", in TLS 1.0.
const tlsAlert = "\x15\x03\x01\x00\x02\x02\x46"

// gateway stands between workers and Redis.
type gateway struct {
	listener net.Listener
	redis    string

	mu      sync.Mutex
	manner  manner
	conns   map[net.Conn]bool // nil once the gateway is closed
	running sync.WaitGroup
}

func newGateway(t *testing.T, redis string) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{
		listener: l,
		redis:    redis,
		conns:    map[net.Conn]bool{},
	}
	g.running.Go(g.accept)
	t.Cleanup(g.close)
	return g
}

func (g *gateway) url() string {
	return "redis://" + g.listener.Addr().String() + "/0"
}

// turn changes the manner for all connections, also for those that are open.
func (g *gateway) turn(to manner) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.manner = to
	if to == refusing {
		_ = g.listener.Close()
	}
	if to != passing && to != hanging {
		g.drop()
	}
}

// drop closes the open connections.
func (g *gateway) drop() {
	for c := range g.conns {
		_ = c.Close()
	}
}

func (g *gateway) close() {
	_ = g.listener.Close()
	g.mu.Lock()
	g.drop()
	g.conns = nil
	g.mu.Unlock()
	g.running.Wait()
}

func (g *gateway) current() manner {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.manner
}

// track reports whether a connection may be used; it is closed with the gateway.
func (g *gateway) track(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		_ = c.Close()
		return false
	}
	g.conns[c] = true
	return true
}

func (g *gateway) untrack(c net.Conn) {
	_ = c.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

func (g *gateway) accept() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.running.Go(func() {
			if g.track(c) {
				defer g.untrack(c)
				g.serve(c)
			}
		})
	}
}

func (g *gateway) serve(client net.Conn) {
	switch g.current() {
	case hanging:
		_, _ = io.Copy(io.Discard, client) // until the client gives up
		return
	case alerting:
		if _, err := client.Read(make([]byte, 1)); err == nil {
			_, _ = io.WriteString(client, tlsAlert)
		}
		return
	case closing, refusing:
		return
	}
	server, err := net.Dial("tcp", g.redis)
	if err != nil || !g.track(server) {
		return
	}
	defer g.untrack(server)
	g.running.Go(func() {
		g.relay(client, server)
		_ = client.Close()
	})
	g.relay(server, client)
}

// relay copies until a connection ends. While the gateway hangs, it drops everything.
func (g *gateway) relay(to io.Writer, from io.Reader) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if g.current() == hanging {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
