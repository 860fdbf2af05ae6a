package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"errand.internal/internal/testwait"
)

// action is what the proxy does with a command or its reply.
type action int

const (
	pass action = iota
	// disconnect closes the connection: the client learns at once that something is
	// lost.
	disconnect
	// stall drops this and everything later in this direction: the client waits.
	stall
)

// interceptor decides on each command before Redis sees it (reply is nil), and again
// on its reply. It also sees those of a stalled connection.
type interceptor func(c *command, reply []byte) action

// proxy relays between one client and Redis, and parses the traffic.
type proxy struct {
	listener net.Listener

	mu        sync.Mutex
	target    string
	intercept interceptor
	observe   func(c *command, reply []byte) // sees every reply of Redis
	conns     map[net.Conn]bool              // nil once the proxy is closed
	running   sync.WaitGroup
}

// newProxy returns a proxy that listens. Until setTarget it refuses every
// connection.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// setTarget sets the address of Redis.
func (p *proxy) setTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// redirect has new connections lead to another address, and closes the old ones.
func (p *proxy) redirect(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) leadsTo(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target == addr
}

// url is the proxy's address in the form of REDIS_URL.
func (p *proxy) url() string {
	return "redis://" + p.listener.Addr().String() + "/0"
}

// setInterceptor makes i decide on all traffic from now on; nil passes everything.
func (p *proxy) setInterceptor(i interceptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept = i
}

// setObserver makes observe see every reply, whatever becomes of it.
func (p *proxy) setObserver(observe func(c *command, reply []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observe = observe
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}

// track keeps an open connection for close. It closes the connection and reports
// false if the proxy is closed.
func (p *proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

// waitClosed waits until the client, which has died, has no connection left, so that
// nothing of it comes after.
func (p *proxy) waitClosed(t *testing.T) {
	t.Helper()
	testwait.Eventually(t, waitLimit, "the proxy has closed the connections of a dead worker", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == 0
	})
}

func (p *proxy) untrack(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() {
			if p.track(client) {
				p.serve(client)
				p.untrack(client)
			}
		})
	}
}

func (p *proxy) decide(c *command, reply []byte) action {
	p.mu.Lock()
	intercept := p.intercept
	observe := p.observe
	p.mu.Unlock()
	if observe != nil && reply != nil {
		observe(c, reply)
	}
	if intercept == nil {
		return pass
	}
	return intercept(c, reply)
}

func (p *proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil || !p.track(server) {
		return
	}
	defer p.untrack(server)
	if !p.leadsTo(target) { // redirected meanwhile, before this connection could be closed
		return
	}
	closeBoth := func() {
		_ = client.Close()
		_ = server.Close()
	}
	commands := make(chan *command, 10_000) // more than any pipeline has
	var replies sync.WaitGroup
	replies.Go(func() {
		p.relayReplies(client, bufio.NewReader(server), commands)
		closeBoth()
	})
	p.relayCommands(server, bufio.NewReader(client), commands)
	close(commands)
	closeBoth()
	replies.Wait()
}

// relayCommands relays commands until the connection ends or an action closes it.
func (p *proxy) relayCommands(server io.Writer, client *bufio.Reader, commands chan<- *command) {
	stalled := false
	for {
		c, err := readCommand(client)
		if err != nil {
			return
		}
		switch p.decide(c, nil) {
		case disconnect:
			return
		case stall:
			stalled = true
		}
		if stalled {
			continue
		}
		commands <- c
		if _, err := server.Write(c.raw); err != nil {
			return
		}
	}
}

// relayReplies relays the replies, which come in the order of the commands.
func (p *proxy) relayReplies(client io.Writer, server *bufio.Reader, commands <-chan *command) {
	stalled := false
	for c := range commands {
		if strings.HasSuffix(strings.ToLower(c.args[0]), "subscribe") {
			_, _ = io.Copy(client, server) // replies no longer match commands
			return
		}
		reply, err := readReply(server)
		if err != nil {
			return
		}
		switch p.decide(c, reply) {
		case disconnect:
			return
		case stall:
			stalled = true
		}
		if stalled {
			continue
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// holdTime is when a proxy holds a command.
type holdTime bool

const (
	beforeRedis holdTime = false // Redis does not get the command
	afterRedis  holdTime = true  // Redis has executed it, the reply is held
)

// heldStep holds the commands of one step in one proxy.
type heldStep struct {
	proxy *proxy
	what  step
	when  holdTime

	mu      sync.Mutex
	held    map[string]int // how often a command of each task is held
	changed chan struct{}  // closed and replaced at every command that is held
}

// hold holds a step of every task. Commands that the worker sends one after the
// other, or in one pipeline, wait behind the first and do not show.
func (p *proxy) hold(what step, when holdTime) *heldStep {
	h := &heldStep{
		proxy:   p,
		what:    what,
		when:    when,
		held:    map[string]int{},
		changed: make(chan struct{}),
	}
	p.setInterceptor(h.intercept)
	return h
}

func (h *heldStep) intercept(c *command, reply []byte) action {
	if at, _ := c.step(); at != h.what || (reply != nil) != bool(h.when) {
		return pass
	}
	if reply != nil && refused(reply) {
		return pass
	}
	ids := c.tasksOf(reply)
	if len(ids) == 0 {
		return pass // a take that has found nothing
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		h.held[id]++
	}
	close(h.changed)
	h.changed = make(chan struct{})
	return stall
}

// wait waits until enough returns true for how often a command of each task is held.
func (h *heldStep) wait(ctx context.Context, enough func(held map[string]int) bool) error {
	for {
		h.mu.Lock()
		ok := enough(h.held)
		n := len(h.held)
		changed := h.changed
		h.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("only %d tasks are held: %w", n, context.Cause(ctx))
		}
	}
}

// tasks returns the tasks that are held.
func (h *heldStep) tasks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.held))
}

// drop ends the hold. What was held never arrives.
func (h *heldStep) drop() {
	h.proxy.setInterceptor(nil)
}
