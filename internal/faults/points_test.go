package faults

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

// point is where a task stands when its worker is killed.
type point string

const (
	taken          point = "taken"          // out of asynq's queue, not claimed
	claimed        point = "claimed"        // the claim is written, its reply on the way
	connecting     point = "connecting"     // the vendor's TLS does not answer
	sent           point = "sent"           // the vendor has the request, and has done nothing
	accepted       point = "accepted"       // the vendor has done it, its answer is on the way
	answered       point = "answered"       // the answer is there, the outcome not written
	unacknowledged point = "unacknowledged" // the outcome is written, asynq has not heard
	moment         point = "moment"         // anywhere
)

var points = []point{taken, claimed, connecting, sent, accepted, answered, unacknowledged}

// gates are one for each kind of tasks.
type gates []*sandbox.Gate

// hold holds all requests before, or (done) after the vendor has done what they
// ask.
func (c *crew) hold(done bool) gates {
	if done {
		return gates{
			c.OTP.HoldAnswer(danaconnecttest.OpSend),
			c.AnnA.HoldAnswer(annatest.OpInactivate),
			c.AnnA.HoldAnswer(annatest.OpAlerts),
		}
	}
	return gates{c.OTP.Hold(danaconnecttest.OpSend), c.AnnA.Hold(annatest.OpInactivate), c.AnnA.Hold(annatest.OpAlerts)}
}

func (all gates) release() {
	for _, g := range all {
		g.Release()
	}
}

// kill brings a worker to the point with a task of each kind, kills it, and
// returns when, and what it had in hand.
func (c *crew) kill(d *rand.Rand, at point) (when time.Time, hands map[string]hand) {
	c.t.Helper()
	i := 1 + d.IntN(len(c.workers)-1) // the first is left, to notice
	victim := c.workers[i]
	there := func(string) bool { return false } // whether a task that it has claimed is at the point
	var held *catch
	hold := func(what step, answered bool, before step) func() {
		held = victim.link.hold(what, answered, before)
		return func() {
			ctx, cancel := context.WithTimeout(c.t.Context(), soon)
			defer cancel()
			enough := func(held map[string]int, all []string) bool {
				return len(held) > 0 && (before == other || ofEachQueue(all))
			}
			if err := held.wait(ctx, enough); err != nil {
				c.t.Fatalf("%s: %v", at, err)
			}
		}
	}
	// answers brings it to where the vendors have done one of each.
	answers := func() gates {
		all := c.hold(true)
		there = c.effected
		c.claimsOfEach(victim, there)
		return all
	}
	switch at {
	case taken:
		hold(claim, false, take)()
	case claimed:
		hold(claim, true, take)()
	case connecting:
		silent := newSilence(c.t)
		i, victim = -1, c.hireConnecting(silent)
		there = func(string) bool { return silent.met() }
		c.claimsOfEach(victim, there)
	case sent:
		defer c.hold(false).release()
		there = c.arrived
		c.claimsOfEach(victim, there)
	case accepted:
		defer answers().release()
	case answered:
		all := answers()
		wait := hold(finish, false, other)
		all.release()
		wait()
	case unacknowledged:
		all := answers()
		wait := hold(ack, false, finish)
		all.release()
		wait()
	case moment:
		<-time.After(time.Duration(d.IntN(1000)) * time.Millisecond)
	}
	victim.Kill()
	when = time.Now()
	hands = c.inHand(victim, at, there, held)
	if i >= 0 {
		c.workers = slices.Delete(c.workers, i, i+1)
		c.hire(1)
	}
	return when, hands
}

// claimsOfEach waits until a worker has claimed a task of each kind that is
// there.
func (c *crew) claimsOfEach(w *worker, there func(id string) bool) {
	c.t.Helper()
	c.await(soon, "a worker has a task of each kind at the point", func() bool {
		var ids []string
		for id := range c.claims(w.Process) {
			if there(id) {
				ids = append(ids, id)
			}
		}
		return ofEachQueue(ids)
	})
}

// inHand says what a killed worker had in hand, and notes it with the tasks.
func (c *crew) inHand(victim *worker, at point, there func(id string) bool, held *catch) map[string]hand {
	c.t.Helper()
	hands := map[string]hand{}
	for id, fence := range c.claims(victim.Process) {
		hands[id] = hand{moment, fence}
		switch {
		case there(id) && at == unacknowledged:
			hands[id] = hand{answered, fence} // it still has the claim
		case there(id):
			hands[id] = hand{at, fence}
		}
	}
	if held != nil {
		for _, id := range held.at() {
			r := c.Conn().HMGet(context.WithoutCancel(c.t.Context()), recordKey(id), "fence", "outcome").Val()
			h := hands[id]
			h.fence, _ = r[0].(string)
			_, claims := hands[id]
			switch {
			case at == unacknowledged && r[1] != nil:
				h.at = unacknowledged
			case claims && at == claimed:
				h.at = claimed
			case !claims && (at == taken || at == claimed):
				h.at = taken
			case !claims:
				continue // it has left the worker's hand in good order
			}
			hands[id] = h
		}
		held.lose()
	}
	for id, h := range hands {
		j := c.job(id)
		j.hands = append(j.hands, h)
	}
	return hands
}

func (c *crew) fence(id string) string {
	return c.Conn().HGet(context.WithoutCancel(c.t.Context()), recordKey(id), "fence").Val()
}

// arrived reports whether the vendor has seen the task.
func (c *crew) arrived(id string) bool {
	var requests []sandbox.Request
	switch name, _, _ := strings.Cut(id, "-"); name {
	case "otp":
		requests = c.OTP.Requests(danaconnecttest.OpSend)
	case "anna":
		requests = c.AnnA.Requests(annatest.OpInactivate)
	default:
		requests = c.AnnA.Requests(annatest.OpAlerts)
	}
	subject := []byte(c.job(id).subject)
	return slices.ContainsFunc(requests, func(r sandbox.Request) bool { return bytes.Contains(r.Body, subject) })
}

// effected reports whether the vendor has done it. A count of alerts leaves no
// trace; the sandbox has done it as soon as the request has arrived.
func (c *crew) effected(id string) bool {
	if strings.HasPrefix(id, "polls-") {
		return c.arrived(id)
	}
	return c.effects(id) > 0
}

func (c *crew) effects(id string) int {
	subject := c.job(id).subject
	if strings.HasPrefix(id, "otp-") {
		return c.OTP.EffectsOf(danaconnecttest.OpSend, subject)
	}
	return c.AnnA.EffectsOf(annatest.OpInactivate, subject)
}

// hireConnecting starts a worker for which the vendors are at an address that
// takes connections and says nothing. The accounts stay the same.
func (c *crew) hireConnecting(s *silence) *worker {
	c.t.Helper()
	base := "https://" + s.listener.Addr().String() + "/"
	link := newProxy(c.t)
	link.aim(c.Redis.Addr())
	p := c.Start(1, "REDIS_URL="+link.url(), "DANACONNECT_OTP_URL="+base, "ANNA_URL="+base)[0]
	return &worker{p, link}
}

// silence accepts connections and never answers.
type silence struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silence{listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.conns {
			_ = c.Close()
		}
	})
	return s
}

func (s *silence) met() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) > 0
}
