package faults

import (
	"maps"
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
	taken          killPoint = "taken"          // the claim is written, its reply is on the way
	starting       killPoint = "starting"       // about to write that the call starts
	started        killPoint = "started"        // that is written, its reply is on the way
	connecting     killPoint = "connecting"     // the vendor's TLS does not answer
	sent           killPoint = "sent"           // the vendor has the request and has not acted
	accepted       killPoint = "accepted"       // the vendor has acted, its answer is on the way
	answered       killPoint = "answered"       // the answer has arrived, the end is not written
	unacknowledged killPoint = "unacknowledged" // the end is written, its reply is on the way
	anywhere       killPoint = "anywhere"
)

// killPoints are those that a kill can aim at.
var killPoints = []killPoint{
	taken,
	starting,
	started,
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
	victim *workerProcess
	// reached reports whether a task that the victim has claimed is at the kill
	// point.
	reached func(id string, i interruption) bool
	held    *heldStep // in the victim's proxy; nil without one
}

// kill brings a random worker to the kill point with a task of each kind, kills it
// and replaces it. It returns when the worker was killed, and the tasks that it had.
func (h *harness) kill(r *rand.Rand, at killPoint) (killed time.Time, tasks map[string]interruption) {
	h.t.Helper()
	k := &killing{
		h:       h,
		at:      at,
		reached: func(string, interruption) bool { return false },
	}
	if at == connecting {
		listener := newSilentListener(h.t)
		k.victim = h.startConnecting(listener)
		k.reached = func(id string, i interruption) bool {
			return listener.hasConnections() && (i.started || h.KindOf(id) != h.Passcodes)
		}
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
		k.holdStep(take, afterRedis)
		k.waitHeld(fleet.Size(k.ofPasscodes, k.h.ofEachKind)) // other workers are often faster
	case starting:
		k.holdStep(start, beforeRedis) // only passcodes have this step
		k.waitHeld(notEmpty)
	case started:
		k.holdStep(start, afterRedis)
		k.waitHeld(notEmpty)
	case connecting:
		k.waitReached()
	case sent:
		held = k.h.hold()
		k.reached = func(id string, _ interruption) bool { return k.h.Arrived(id) }
		k.waitReached()
	case accepted:
		held = k.waitAccepted()
	case answered:
		held = k.waitAccepted()
		k.holdStep(end, beforeRedis)
		held[r.IntN(len(held))].Release()
		k.waitHeld(notEmpty)
	case unacknowledged:
		held = k.waitAccepted()
		k.holdStep(end, afterRedis)
		held[r.IntN(len(held))].Release()
		k.waitHeld(notEmpty)
	case anywhere:
		fleet.Elapse(k.h.t, time.Duration(r.IntN(1000))*time.Millisecond)
	}
	return held
}

// holdStep holds a step of all tasks in the victim's proxy.
func (k *killing) holdStep(what step, when holdTime) {
	k.held = k.victim.proxy.hold(what, when)
}

// waitHeld waits until the tasks that the proxy holds are enough.
func (k *killing) waitHeld(enough func(ids []string) bool) {
	k.h.t.Helper()
	err := k.held.wait(limitContext(k.h.t), func(held map[string]int) bool {
		return enough(slices.Collect(maps.Keys(held)))
	})
	if err != nil {
		k.h.t.Fatalf("%s: %v", k.at, err)
	}
}

func (k *killing) ofPasscodes(ids []string) bool {
	return len(k.h.ofKind(ids, k.h.Passcodes)) > 0
}

func notEmpty(ids []string) bool {
	return len(ids) > 0
}

// waitAccepted waits until the vendors have acted on a task of each kind that the
// victim has claimed. They hold back their answers.
func (k *killing) waitAccepted() gates {
	k.h.t.Helper()
	answers := k.h.holdAnswers()
	k.reached = func(id string, _ interruption) bool { return k.h.accepted(id) }
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
		for id, i := range k.h.claims(k.victim.Process) {
			if k.reached(id, i) {
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
	k.h.waitSilent(k.victim)
	held := map[string]bool{}
	if k.held != nil {
		for _, id := range k.held.tasks() {
			held[id] = true
		}
		k.held.drop()
	}
	found := map[string]interruption{}
	for id, i := range k.h.claims(k.victim.Process) {
		i.at = anywhere
		switch {
		case held[id]:
			i.at = k.at
		case !k.reached(id, i):
		case k.at == answered, k.at == unacknowledged:
			i.at = accepted // the held ones are further
		default:
			i.at = k.at
		}
		if i.at != unacknowledged { // the end is not written
			found[id] = i
		}
		delete(held, id)
	}
	if k.at == unacknowledged {
		for id := range held {
			found[id] = interruption{at: unacknowledged}
		}
	}
	k.h.mu.Lock()
	defer k.h.mu.Unlock()
	for id, i := range found {
		k.h.kills[id] = append(k.h.kills[id], i)
	}
	return found
}

// waitSilent waits until Redis has done all that a dead worker has sent.
func (h *harness) waitSilent(dead *workerProcess) {
	h.t.Helper()
	dead.proxy.waitClosed(h.t)
	// Redis may not have read the last command when the proxy closed its connection. It
	// reads what has arrived on all connections before it waits for more.
	for range 2 {
		if err := h.Conn().Ping(h.t.Context()).Err(); err != nil {
			h.t.Fatal(err)
		}
	}
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
func (h *harness) startConnecting(s *silentListener) *workerProcess {
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
