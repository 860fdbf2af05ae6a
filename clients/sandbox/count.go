package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// begin counts and records a call, and gives it its fault.
func (e *Engine) begin(call *Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	call.Fault = e.takeFault(call.Op)
	e.calls[call.Op]++
	e.recorded = append(e.recorded, call.Request)
	if limit := max(e.keep, maxRecorded); len(e.recorded) > limit {
		e.recorded = append([]Request(nil), e.recorded[limit/2:]...)
	}
	e.notify()
}

// end counts a call that is over.
func (e *Engine) end(op string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered[op]++
	e.notify()
}

func (e *Engine) effect(op, subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.effects[op] == nil {
		e.effects[op] = map[string]int{}
	}
	e.effects[op][subject]++
	e.notify()
}

// notify wakes the waiting goroutines. e.mu is held.
func (e *Engine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Calls returns how many calls of op have arrived.
func (e *Engine) Calls(op string) int {
	return e.count(op, func() int { return e.calls[op] })
}

// Answered returns how many calls of op are over, including dropped ones.
func (e *Engine) Answered(op string) int {
	return e.count(op, func() int { return e.answered[op] })
}

// Effects returns how often op had its effect, on all subjects together.
func (e *Engine) Effects(op string) int {
	return e.count(op, func() int {
		sum := 0
		for _, n := range e.effects[op] {
			sum += n
		}
		return sum
	})
}

// EffectsOf returns how often op had its effect on one subject.
func (e *Engine) EffectsOf(op, subject string) int {
	return e.count(op, func() int { return e.effects[op][subject] })
}

func (e *Engine) count(op string, get func() int) int {
	e.mustKnow(op)
	e.mu.Lock()
	defer e.mu.Unlock()
	return get()
}

// Requests returns the recorded requests of op, or of all operations if op is "",
// oldest first. Older ones than the last few hundred are dropped.
func (e *Engine) Requests(op string) []Request {
	e.mustKnow(op)
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Request
	for _, r := range e.recorded {
		if op == "" || r.Op == op {
			r.Header = r.Header.Clone()
			r.Body = bytes.Clone(r.Body)
			out = append(out, r)
		}
	}
	return out
}

// Keep has up to n requests recorded, if that is more than the last few hundred.
func (e *Engine) Keep(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep = n
}

// CallsOf is how many of the recorded requests of op have subject in their URI or
// body.
func (e *Engine) CallsOf(op, subject string) int {
	return e.count(op, func() int {
		n := 0
		for _, r := range e.recorded {
			if r.Op == op && (strings.Contains(r.URI, subject) || bytes.Contains(r.Body, []byte(subject))) {
				n++
			}
		}
		return n
	})
}

// Reset clears counts, recorded requests and faults.
func (e *Engine) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reset()
	e.notify()
}

func (e *Engine) reset() {
	e.faults = nil
	e.recorded = nil
	e.calls = map[string]int{}
	e.answered = map[string]int{}
	e.effects = map[string]map[string]int{}
}

// WaitCalls waits until at least n calls of op have arrived.
func (e *Engine) WaitCalls(ctx context.Context, op string, n int) error {
	return e.wait(ctx, "calls of "+op, n, func() int { return e.Calls(op) })
}

// WaitAnswered waits until at least n calls of op are over.
func (e *Engine) WaitAnswered(ctx context.Context, op string, n int) error {
	return e.wait(ctx, "answers of "+op, n, func() int { return e.Answered(op) })
}

// WaitEffects waits until op had its effect at least n times.
func (e *Engine) WaitEffects(ctx context.Context, op string, n int) error {
	return e.wait(ctx, "effects of "+op, n, func() int { return e.Effects(op) })
}

func (e *Engine) wait(ctx context.Context, what string, n int, count func() int) error {
	for {
		e.mu.Lock()
		changed := e.changed // taken before counting, so that no change is missed
		e.mu.Unlock()
		got := count()
		if got >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d %s, got %d: %w", n, what, got, context.Cause(ctx))
		}
	}
}

// Gate holds calls back until it is released.
type Gate struct {
	engine *Engine
	op     string
	after  bool
	open   chan struct{}
	once   sync.Once
}

// Hold stops calls of op before their effect, until the gate is released. "" means
// all operations.
func (e *Engine) Hold(op string) *Gate {
	return e.hold(op, false)
}

// HoldAnswer lets calls of op have their effect and holds back the answers, until
// the gate is released. "" means all operations.
func (e *Engine) HoldAnswer(op string) *Gate {
	return e.hold(op, true)
}

func (e *Engine) hold(op string, after bool) *Gate {
	e.mustKnow(op)
	g := &Gate{
		engine: e,
		op:     op,
		after:  after,
		open:   make(chan struct{}),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gates = append(e.gates, g)
	return g
}

// Release lets held and later calls pass. It may be called more than once.
func (g *Gate) Release() {
	g.once.Do(func() {
		close(g.open)
	})
}

// passGates waits for every gate of op before or after its effect. If the client
// disconnects, it aborts the call.
func (e *Engine) passGates(ctx context.Context, op string, after bool) {
	e.mu.Lock()
	var waiting []*Gate
	kept := e.gates[:0]
	for _, g := range e.gates {
		select {
		case <-g.open:
			continue // released: dropped from the list
		default:
		}
		kept = append(kept, g)
		if g.after == after && (g.op == "" || g.op == op) {
			waiting = append(waiting, g)
		}
	}
	e.gates = kept
	e.mu.Unlock()
	for _, g := range waiting {
		select {
		case <-g.open:
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// Counts is the answer to GET _sandbox/counts.
type Counts struct {
	Calls    map[string]int            `json:"calls"`
	Answered map[string]int            `json:"answered"`
	Effects  map[string]map[string]int `json:"effects"`
}

// Counts returns a copy of all counts.
func (e *Engine) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := Counts{
		Calls:    maps.Clone(e.calls),
		Answered: maps.Clone(e.answered),
		Effects:  map[string]map[string]int{},
	}
	for op, bySubject := range e.effects {
		c.Effects[op] = maps.Clone(bySubject)
	}
	return c
}
