package account

import (
	"sync"

	"errand.internal/internal/admission"
)

// maxGates is the largest number of gates in a set. Names beyond it have no gate,
// because payloads may contain any number of names and each gate costs memory and
// metrics.
const maxGates = 4096

// Gates is a set of gates for what a vendor may refuse beside credentials, such as
// pipes or organizations. A gate is created when it is first needed.
type Gates struct {
	shared  Shared
	profile func(name string) admission.Profile
	local   bool // all gates are open

	mu     sync.Mutex
	made   map[string]*admission.Breaker
	closed bool
}

// Gates returns a set of gates. profile returns the profile of a name's gate. The
// known names become Blockers at once.
func (a *Account) Gates(profile func(name string) admission.Profile, known []string) *Gates {
	set := &Gates{
		shared:  a.shared,
		profile: profile,
		local:   a.local,
		made:    map[string]*admission.Breaker{},
	}
	a.closers = append(a.closers, set.close)
	for _, name := range known {
		if gate := set.find(name); gate != nil {
			p := profile(name)
			a.Blockers = append(a.Blockers, Credential{
				Name:            p.Name,
				Identity:        p.Identity,
				CredentialState: gate,
			})
		}
	}
	return set
}

// Of returns the gate of a name. It is always open without Redis and if the set is full.
func (g *Gates) Of(name string) admission.Gate {
	if gate := g.find(name); gate != nil {
		return gate
	}
	return admission.Always()
}

// find returns the gate of a name, or nil if it has none.
func (g *Gates) find(name string) *admission.Breaker {
	if g.local {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	gate, known := g.made[name]
	if !known && len(g.made) < maxGates && !g.closed {
		gate = admission.NewBreaker(g.shared.Redis, g.profile(name), g.shared.Admission...)
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
