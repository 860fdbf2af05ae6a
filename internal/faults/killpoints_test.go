package faults

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/testwait"
)

// killPoint is how far a task is when its worker is killed.
type killPoint string

const (
	taken          killPoint = "taken"          // removed from asynq's queue, not claimed
	claimed        killPoint = "claimed"        // the claim is written, its reply is on the way
	connecting     killPoint = "connecting"     // the vendor's TLS does not answer
	sent           killPoint = "sent"           // the vendor has the request and has not acted
	accepted       killPoint = "accepted"       // the vendor has acted, its answer is on the way
	answered       killPoint = "answered"       // the answer has arrived, the outcome is not written
	unacknowledged killPoint = "unacknowledged" // the outcome is written, asynq does not know it
	anywhere       killPoint = "anywhere"
)

// killPoints are those that a kill can aim at.
var killPoints = []killPoint{
	taken,
	claimed,
	connecting,
	sent,
	accepted,
	answered,
	unacknowledged,
}

// gates hold the calls of several kinds.
type gates []*sandbox.Gate

func (gs gates) release() {
	for _, g := range gs {
		g.Release()
	}
}

// hold holds back all calls before they take effect.
func (h *harness) hold() (gs gates) {
	for _, kind := range h.kinds {
		gs = append(gs, kind.Hold())
	}
	return gs
}

// holdAnswers holds back the answers of all calls that have taken effect.
func (h *harness) holdAnswers() (gs gates) {
	for _, kind := range h.kinds {
		gs = append(gs, kind.HoldAnswer())
	}
	return gs
}

// killing brings a worker to a kill point.
type killing struct {
	h      *harness
	at     killPoint
	victim *worker
	// reached reports whether a task that the victim has claimed is at the kill
	// point.
	reached func(id string) bool
	held    *heldStep // in the victim's proxy; nil without one
}

// kill brings a random worker to the kill point with a task of each kind, kills it
// and replaces it. It returns when the worker was killed, and the tasks that it had.
func (h *harness) kill(r *rand.Rand, at killPoint) (killed time.Time, tasks map[string]interruption) {
	h.t.Helper()
	k := &killing{
		h:       h,
		at:      at,
		reached: func(string) bool { return false },
	}
	if at == connecting {
		listener := newSilentListener(h.t)
		k.victim = h.startConnecting(listener)
		k.reached = func(string) bool { return listener.hasConnections() }
	} else {
		i := 1 + r.IntN(len(h.workers)-1) // the first worker lives, to notice the deaths
		k.victim = h.workers[i]
		h.workers = slices.Delete(h.workers, i, i+1)
	}
	held := k.bring(r)
	defer held.release()
	k.victim.Kill()
	killed = time.Now()
	tasks = k.interrupted()
	if at != connecting {
		h.startWorkers(1)
	}
	return killed, tasks
}

// bring brings the victim to the kill point. It returns the gates that must stay
// closed until the victim is dead.
func (k *killing) bring(r *rand.Rand) (held gates) {
	k.h.t.Helper()
	switch k.at {
	case taken:
		k.holdStep(claim, beforeRedis, take)
		k.waitHeld(true)
	case claimed:
		k.holdStep(claim, afterRedis, take)
		k.waitHeld(true)
	case connecting:
		k.waitReached()
	case sent:
		held = k.h.hold()
		k.reached = k.h.Arrived
		k.waitReached()
	case accepted:
		held = k.waitAccepted()
	case answered:
		answers := k.waitAccepted()
		k.holdStep(finish, beforeRedis, other)
		answers.release()
		k.waitHeld(false)
	case unacknowledged:
		answers := k.waitAccepted()
		k.holdStep(ack, beforeRedis, finish)
		answers.release()
		k.waitHeld(true)
	case anywhere:
		fleet.Elapse(k.h.t, time.Duration(r.IntN(1000))*time.Millisecond)
	}
	return held
}

// holdStep holds a step of all tasks in the victim's proxy.
func (k *killing) holdStep(what step, when holdTime, previous step) {
	k.held = k.victim.proxy.hold(what, when, previous)
}

// waitHeld waits until the proxy holds a task; with ofEachKind, until it has also
// seen a task of each kind that is held or about to be.
func (k *killing) waitHeld(ofEachKind bool) {
	k.h.t.Helper()
	err := k.held.wait(limitContext(k.h.t), func(held map[string]int, pending []string) bool {
		return len(held) > 0 && (!ofEachKind || k.h.ofEachKind(pending))
	})
	if err != nil {
		k.h.t.Fatalf("%s: %v", k.at, err)
	}
}

// waitAccepted waits until the vendors have acted on a task of each kind that the
// victim has claimed. They hold back their answers.
func (k *killing) waitAccepted() gates {
	k.h.t.Helper()
	answers := k.h.holdAnswers()
	k.reached = k.h.accepted
	k.waitReached()
	return answers
}

// waitReached waits until the victim has claimed a task of each kind that is at the
// kill point.
func (k *killing) waitReached() {
	k.h.t.Helper()
	what := "a worker has a task of each kind at the kill point " + string(k.at)
	testwait.Eventually(k.h.t, waitLimit, what, func() bool {
		var ids []string
		for id := range k.h.claims(k.victim.Process) {
			if k.reached(id) {
				ids = append(ids, id)
			}
		}
		return k.h.ofEachKind(ids)
	})
}

// interrupted returns the tasks that the victim had when it was killed, and records
// them.
func (k *killing) interrupted() map[string]interruption {
	k.h.t.Helper()
	found := map[string]interruption{}
	for id, fence := range k.h.claims(k.victim.Process) {
		at := anywhere
		if k.reached(id) {
			at = k.at
			if at == unacknowledged {
				at = answered // the claim has not ended yet
			}
		}
		found[id] = interruption{at, fence}
	}
	if k.held != nil {
		for _, id := range k.held.tasks() {
			k.addHeld(found, id)
		}
		k.held.drop()
	}
	k.h.mu.Lock()
	defer k.h.mu.Unlock()
	for id, i := range found {
		k.h.kills[id] = append(k.h.kills[id], i)
	}
	return found
}

// addHeld adds a task that the proxy held.
func (k *killing) addHeld(found map[string]interruption, id string) {
	ctx := context.WithoutCancel(k.h.t.Context())
	fields := k.h.Conn().HMGet(ctx, fleet.RecordKey(id), "fence", "outcome").Val()
	i, isClaimed := found[id]
	i.fence, _ = fields[0].(string)
	switch {
	case k.at == unacknowledged && fields[1] != nil:
		i.at = unacknowledged
	case isClaimed && k.at == claimed:
		i.at = claimed
	case !isClaimed && (k.at == taken || k.at == claimed):
		i.at = taken
	case !isClaimed:
		return // the victim had finished it
	}
	found[id] = i
}

func (h *harness) fence(id string) string {
	return h.Conn().HGet(context.WithoutCancel(h.t.Context()), fleet.RecordKey(id), "fence").Val()
}

// accepted reports whether the vendor has acted on the task. A read is done as soon
// as its request has arrived.
func (h *harness) accepted(id string) bool {
	if h.KindOf(id).Uncounted {
		return h.Arrived(id)
	}
	return h.EffectsOf(id) > 0
}

// startConnecting starts a worker that reaches the vendors at an address that
// accepts connections and never answers. The logins stay reachable.
func (h *harness) startConnecting(s *silentListener) *worker {
	h.t.Helper()
	base := "https://" + s.listener.Addr().String() + "/"
	return h.startWorker(
		"DANACONNECT_OTP_URL="+base,
		"DANACONNECT_API_URL="+base,
		"DINERO_API_URL="+base,
	)
}

// silentListener accepts connections and never answers.
type silentListener struct {
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func newSilentListener(t *testing.T) *silentListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silentListener{listener: l}
	go s.accept()
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

func (s *silentListener) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
	}
}

func (s *silentListener) hasConnections() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) > 0
}
