package faults

import (
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/record"
)

// breakpoint is a moment in the middle of a tick: the n-th task is about to be
// enqueued, and Redis does not have the command yet. What the worker has sent by then
// arrives (pass), or is lost with the connection (disconnect).
type breakpoint struct {
	n    int
	then action
}

// String implements fmt.Stringer.
func (b breakpoint) String() string {
	end := "arrives"
	if b.then == disconnect {
		end = "is lost"
	}
	return fmt.Sprintf("task %d of %d, which %s", b.n+1, subjectCount, end)
}

// armedBreakpoint waits for the first worker that reaches the breakpoint.
type armedBreakpoint struct {
	breakpoint
	seen    map[*workerProcess]int // tasks in the current tick
	reached bool
	stopped chan *workerProcess
	resume  chan struct{}
}

// interruptTick calls interrupt with the first worker that reaches the breakpoint.
// The proxy holds its command meanwhile, so the worker has certainly not continued.
func (h *scheduleHarness) interruptTick(b breakpoint, interrupt func(*workerProcess)) *workerProcess {
	h.t.Helper()
	armed := &armedBreakpoint{
		breakpoint: b,
		seen:       map[*workerProcess]int{},
		stopped:    make(chan *workerProcess, 1),
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

// interceptor stops a worker at the breakpoint.
func (h *scheduleHarness) interceptor(w *workerProcess) interceptor {
	return func(c *command, reply []byte) action {
		if reply != nil {
			return pass
		}
		return h.stopAtBreakpoint(w, c)
	}
}

// stopAtBreakpoint holds the worker's command if it is the one of the breakpoint,
// until the worker has been interrupted.
func (h *scheduleHarness) stopAtBreakpoint(w *workerProcess, c *command) action {
	at, ids := c.step()
	queue := ""
	if len(ids) > 0 {
		queue, _ = record.QueueOf(ids[0]) // they are of one
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	b := h.breakpoint
	switch {
	case b == nil || b.reached:
	case len(c.args) > 3 && strings.HasPrefix(c.args[3], "errand:schedule:"):
		b.seen[w] = 0 // another tick, or the same one again
	case at == enqueue && queue == h.Reads.Queue():
		if b.seen[w] += len(ids); b.seen[w] <= b.n { // a call may have many
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
