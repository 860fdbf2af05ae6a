package vendors

import (
	"sync"

	"errand.internal/internal/tokens"
)

// maxGates is the most gates of one set. Beyond it a thing goes without a gate:
// a payload may name any number of them, and each costs memory and metrics.
const maxGates = 4096

// gates are gates of things beside credentials that a vendor may refuse, such as
// one pipe or one organization. Each is made when it is first needed.
type gates struct {
	shared  Shared
	profile func(name string) tokens.Profile

	mu     sync.Mutex
	made   map[string]*tokens.SharedGate
	closed bool
}

func newGates(s Shared, profile func(name string) tokens.Profile) *gates {
	return &gates{
		shared:  s,
		profile: profile,
		made:    map[string]*tokens.SharedGate{},
	}
}

// of returns the gate of one of them.
func (g *gates) of(name string) tokens.Gate {
	if gate := g.find(name); gate != nil {
		return gate
	}
	return tokens.OpenGate()
}

// find is of, but nil if there are too many.
func (g *gates) find(name string) *tokens.SharedGate {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate, known := g.made[name]
	if !known && len(g.made) < maxGates && !g.closed {
		gate = tokens.NewGate(g.shared.Redis, g.profile(name), g.shared.Options...)
		g.made[name] = gate
	}
	return gate
}

// credential is the gate as something that tasks are parked for.
func (g *gates) credential(name string) (Credential, bool) {
	gate := g.find(name)
	if gate == nil {
		return Credential{}, false
	}
	return Credential{g.profile(name).Name, gate}, true
}

// close closes all of them.
func (g *gates) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, gate := range g.made {
		gate.Close()
	}
}
