package faults

import (
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/record"
)

// breakpoint is a moment in the middle of a tick: the n-th command of a step, before
// Redis has it. What the worker has sent by then arrives (pass), or is lost with the
// connection (disconnect).
type breakpoint struct {
	n    int
	at   step
	then action
}

// String implements fmt.Stringer.
func (b breakpoint) String() string {
	end := "arrives"
	if b.then == disconnect {
		end = "is lost"
	}
	return fmt.Sprintf("%s %d of %d, which %s", b.at, b.n+1, subjectCount, end)
}

// armedBreakpoint waits for the first worker that reaches the breakpoint.
type armedBreakpoint struct {
	breakpoint
	seen    map[*worker]int // commands of the step in the current tick
	reached bool
	stopped chan *worker
	resume  chan struct{}
}

// interruptTick calls interrupt with the first worker that reaches the breakpoint.
// The proxy holds its command meanwhile, so the worker has certainly not continued.
func (h *scheduleHarness) interruptTick(b breakpoint, interrupt func(*worker)) *worker {
	h.t.Helper()
	armed := &armedBreakpoint{
		breakpoint: b,
		seen:       map[*worker]int{},
		stopped:    make(chan *worker, 1),
		resume:     make(chan struct{}),
	}
	defer close(armed.resume)
	h.setBreakpoint(armed)
	defer h.setBreakpoint(nil)
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	select {
	case w := <-armed.stopped:
		interrupt(w)
		return w
	case <-deadline.C:
		h.t.Fatalf("no worker reached %s", b)
		panic("unreachable")
	}
}

func (h *scheduleHarness) setBreakpoint(armed *armedBreakpoint) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.breakpoint = armed
}

// interceptor records what a worker enqueues, and stops it at the breakpoint.
func (h *scheduleHarness) interceptor(w *worker) interceptor {
	return func(c *command, reply []byte) action {
		at, id := c.step()
		if reply == nil {
			if then := h.stopAtBreakpoint(w, c, at, id); then != pass {
				return then
			}
		}
		if at == enqueue {
			h.recordQueued(id, reply)
		}
		return pass
	}
}

func (h *scheduleHarness) recordQueued(id string, reply []byte) {
	h.lock.Lock()
	defer h.lock.Unlock()
	switch {
	case reply == nil && h.queued[id].IsZero():
		h.queued[id] = time.Now()
	case reply != nil && reply[0] == '-': // NOSCRIPT
		delete(h.queued, id)
	}
}

// stopAtBreakpoint holds the worker's command if it is the one of the breakpoint,
// until the worker has been interrupted.
func (h *scheduleHarness) stopAtBreakpoint(w *worker, c *command, at step, id string) action {
	h.lock.Lock()
	defer h.lock.Unlock()
	b := h.breakpoint
	queue, _ := record.QueueOf(id)
	switch {
	case b == nil || b.reached:
	case len(c.args) > 3 && strings.HasPrefix(c.args[3], "errand:schedule:"):
		b.seen[w] = 0 // another tick, or the same one again
	case at == b.at && queue == h.Reads.Queue():
		if b.seen[w]++; b.seen[w] <= b.n {
			return pass
		}
		b.reached = true
		h.lock.Unlock()
		b.stopped <- w
		<-b.resume
		h.lock.Lock()
		return b.then
	}
	return pass
}
