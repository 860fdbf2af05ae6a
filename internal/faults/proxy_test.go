package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fate is what becomes of a command or its reply.
type fate int

const (
	pass fate = iota
	// cut ends the connection: the client learns at once that something is lost.
	cut
	// mute lets nothing pass in this direction any more: the client waits.
	mute
)

// A tap sees each command before Redis does (reply is nil), and again with its
// reply; those of a muted connection, too.
type tap func(c *command, reply []byte) fate

// proxy stands between one client and Redis, and reads what goes by.
type proxy struct {
	listener net.Listener

	mu     sync.Mutex
	target string
	tap    tap
	conns  map[net.Conn]bool // nil when it is closed
	all    sync.WaitGroup
}

// newProxy listens at once. Before aim it refuses every connection.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// aim says where Redis is.
func (p *proxy) aim(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// url is the proxy as REDIS_URL.
func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() + "/0" }

// put lets a tap see everything from now on; nil for none.
func (p *proxy) put(t tap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tap = t
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.all.Wait()
}

// keep remembers an open connection, for close. It reports false after close.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
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
		p.all.Go(func() {
			if p.keep(client) {
				p.serve(client)
				p.drop(client)
			}
		})
	}
}

func (p *proxy) see(c *command, reply []byte) fate {
	p.mu.Lock()
	look := p.tap
	p.mu.Unlock()
	if look == nil {
		return pass
	}
	return look(c, reply)
}

func (p *proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.drop(server)
	up, down := bufio.NewReader(client), bufio.NewReader(server)
	asked := make(chan *command, 10_000) // more than any pipeline has
	var both sync.WaitGroup
	both.Go(func() {
		p.replies(client, down, asked)
		_, _ = client.Close(), server.Close()
	})
	for muted := false; ; {
		c, err := readCommand(up)
		if err != nil {
			break
		}
		if verdict := p.see(c, nil); verdict == cut {
			break
		} else if verdict == mute {
			muted = true
		}
		if muted {
			continue
		}
		asked <- c
		if _, err := server.Write(c.raw); err != nil {
			break
		}
	}
	close(asked)
	_, _ = client.Close(), server.Close()
	both.Wait()
}

// replies carries them back, in the order of the commands.
func (p *proxy) replies(client io.Writer, down *bufio.Reader, asked <-chan *command) {
	muted := false
	for c := range asked {
		if strings.HasSuffix(strings.ToLower(c.args[0]), "subscribe") {
			_, _ = io.Copy(client, down) // from now on they come unasked
			return
		}
		reply, err := readReply(down)
		if err != nil {
			return
		}
		switch p.see(c, reply) {
		case cut:
			return
		case mute:
			muted = true
		}
		if muted {
			continue
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// catch holds the commands of one step in one proxy.
type catch struct {
	proxy *proxy

	mu      sync.Mutex
	ids     map[string]int  // held, and how often
	before  map[string]bool // have come so far that the step is next
	changed chan struct{}   // closed and replaced with each command
}

// hold holds one step of every task, before Redis hears of it or (answered) when
// it has been carried out and the reply is on its way. A worker may send such
// commands one after the other, so that most of those that are due are not to be
// seen; it notes the tasks that have passed the step before as well.
func (p *proxy) hold(what step, answered bool, before step) *catch {
	k := &catch{
		proxy:   p,
		ids:     map[string]int{},
		before:  map[string]bool{},
		changed: make(chan struct{}),
	}
	p.put(func(c *command, reply []byte) fate {
		at, id := c.step()
		if reply != nil && reply[0] == '-' {
			return pass // it was not carried out (NOSCRIPT)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		verdict := pass
		switch {
		case at == what && (reply != nil) == answered:
			k.ids[id]++
			verdict = mute
		case at == before && reply != nil && id != "":
			k.before[id] = true
		case at == before && reply != nil: // taken: the ID stands in the task itself
			for _, found := range taskID.FindAll(reply, -1) {
				k.before[string(found)] = true
			}
		default:
			return pass
		}
		close(k.changed)
		k.changed = make(chan struct{})
		return verdict
	})
	return k
}

var taskID = regexp.MustCompile(`\b(otp|anna|polls)-[a-z0-9]{26}\b`)

// wait waits until the tasks held, with those that are about to be, are enough.
func (k *catch) wait(ctx context.Context, enough func(held map[string]int, all []string) bool) error {
	for {
		k.mu.Lock()
		all := k.all()
		ok, n, changed := enough(k.ids, all), len(k.ids), k.changed
		k.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("only %d tasks are held, and %d are at hand: %w", n, len(all), context.Cause(ctx))
		}
	}
}

// at are the tasks that are held, or about to be.
func (k *catch) at() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all()
}

func (k *catch) all() []string {
	all := maps.Clone(k.before)
	for id := range k.ids {
		all[id] = true
	}
	return slices.Collect(maps.Keys(all))
}

// lose ends the hold: what was held never arrives.
func (k *catch) lose() { k.proxy.put(nil) }
