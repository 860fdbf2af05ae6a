package faults

import (
	"fmt"
	"strings"
	"time"
)

// stroke says when a worker is struck in the middle of a tick: at the n-th
// command of a kind, before Redis has it. What it has sent by then arrives
// (pass), or is lost with the connection (cut).
type stroke struct {
	n    int
	at   step
	then fate
}

// String implements fmt.Stringer.
func (s stroke) String() string {
	return fmt.Sprintf(
		"%s %d of %d, what was on its way %s",
		s.at,
		s.n+1,
		pollSubjects,
		map[fate]string{pass: "arrived", cut: "was lost"}[s.then],
	)
}

// trap waits for a worker to be there.
type trap struct {
	stroke
	seen   map[*worker]int
	taken  bool
	caught chan *worker
	struck chan struct{}
}

// strike does something to the first worker that is there. The command stands
// still meanwhile, so that the worker has surely not got any further.
func (r *rota) strike(s stroke, how func(*worker)) (*worker, stroke) {
	r.t.Helper()
	t := &trap{
		stroke: s,
		seen:   map[*worker]int{},
		caught: make(chan *worker, 1),
		struck: make(chan struct{}),
	}
	defer close(t.struck)
	r.setTrap(t)
	defer r.setTrap(nil)
	deadline := time.NewTimer(soon)
	defer deadline.Stop()
	select {
	case w := <-t.caught:
		how(w)
		return w, s
	case <-deadline.C:
		r.t.Fatalf("no worker was met at %s", s)
		panic("unreachable")
	}
}

func (r *rota) setTrap(t *trap) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.trap = t
}

// tap sees all that a worker says to Redis.
func (r *rota) tap(w *worker) tap {
	return func(c *command, reply []byte) fate {
		at, id := c.step()
		if reply == nil {
			if then := r.meet(w, c, at, id); then != pass {
				return then
			}
		}
		if at == enqueue {
			r.lock.Lock()
			defer r.lock.Unlock()
			if reply == nil && r.queued[id].IsZero() {
				r.queued[id] = time.Now()
			} else if reply != nil && reply[0] == '-' { // NOSCRIPT
				delete(r.queued, id)
			}
		}
		return pass
	}
}

// meet holds the worker if it is in the trap, until it was struck.
func (r *rota) meet(w *worker, c *command, at step, id string) fate {
	r.lock.Lock()
	defer r.lock.Unlock()
	t := r.trap
	switch {
	case t == nil || t.taken:
	case len(c.args) > 3 && strings.HasPrefix(c.args[3], "errand:schedule:"):
		t.seen[w] = 0 // another tick, or the same anew
	case at == t.at && strings.HasPrefix(id, "polls-"):
		if t.seen[w]++; t.seen[w] <= t.n {
			return pass
		}
		t.taken = true
		r.lock.Unlock()
		t.caught <- w
		<-t.struck
		r.lock.Lock()
		return t.then
	}
	return pass
}
