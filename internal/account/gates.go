package account

import (
	"sync"

	"errand.internal/internal/tokens"
)

// maxGates bounds the gates of one set. A thing beyond it has no gate: a payload
// may name any number of things, and each gate costs memory and metrics.
const maxGates = 4096

// Gates are the gates of things beside credentials that a vendor may refuse,
// such as pipes or organizations. A gate is made when it is first needed.
type Gates struct {
	shared  Shared
	profile func(name string) tokens.Profile
	open    bool // without gates: a dry run

	mu     sync.Mutex
	made   map[string]*tokens.SharedGate
	closed bool
}

// Gates returns a set of gates. profile describes the gate of a name; the known
// names are Blockers from the start.
func (a *Account) Gates(profile func(name string) tokens.Profile, known []string) *Gates {
	set := &Gates{
		shared:  a.shared,
		profile: profile,
		open:    a.dryRun != nil,
		made:    map[string]*tokens.SharedGate{},
	}
	a.closed = append(a.closed, set.close)
	for _, name := range known {
		if gate := set.find(name); gate != nil {
			a.Blockers = append(a.Blockers, Credential{profile(name).Name, gate})
		}
	}
	return set
}

// Of returns the gate of one name.
func (g *Gates) Of(name string) tokens.Gate {
	if gate := g.find(name); gate != nil {
		return gate
	}
	return tokens.OpenGate()
}

// find returns nil if there is no gate for the name.
func (g *Gates) find(name string) *tokens.SharedGate {
	if g.open {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	gate, known := g.made[name]
	if !known && len(g.made) < maxGates && !g.closed {
		gate = tokens.NewGate(g.shared.Redis, g.profile(name), g.shared.TokenOptions...)
		g.made[name] = gate
	}
	return gate
}

func (g *Gates) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, gate := range g.made {
		gate.Close()
	}
}
