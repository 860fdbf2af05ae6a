package account

import (
	"context"

	"errand.internal/internal/admission"
	"errand.internal/internal/tokens"
)

// pause returns the pause of a credential. Its login and its calls share it.
func (a *Account) pause(name string) *admission.Pause {
	for _, p := range a.Pauses {
		if p.Account() == name {
			return p
		}
	}
	p := admission.NewPause(a.shared.Redis, name, a.shared.Admission...)
	a.Pauses = append(a.Pauses, p)
	return p
}

// pausableSource gives no token, and so never logs in, while the account is paused.
type pausableSource struct {
	*tokens.Shared
	pause *admission.Pause
}

// Get implements tokens.Source.
func (s pausableSource) Get(ctx context.Context) (tokens.Token, error) {
	if err := s.pause.Check(ctx); err != nil {
		return tokens.Token{}, err
	}
	return s.Shared.Get(ctx)
}

// pausableGate admits no call, and so no probe, while the account is paused.
type pausableGate struct {
	*admission.Breaker
	pause *admission.Pause
}

// Acquire implements admission.Gate.
func (g pausableGate) Acquire(ctx context.Context) (admission.Permit, error) {
	if err := g.pause.Check(ctx); err != nil {
		return nil, err
	}
	return g.Breaker.Acquire(ctx)
}
