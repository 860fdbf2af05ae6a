package tokens

import (
	"context"
	"errors"
	"sync"
	"time"

	"errand.internal/internal/admission"
)

// Local returns a Source that logs in for this process alone and needs no Redis, for
// unit tests. It has no cool-down after a refusal.
func Local(p Profile) Source {
	return &local{profile: p.withDefaults()}
}

type local struct {
	profile Profile

	mu      sync.Mutex
	current Token
	expires time.Time
}

// Get implements Source.
func (l *local) Get(ctx context.Context) (Token, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.expires) {
		t := l.current
		t.Origin = Adopted
		return t, nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.profile.Timeout)
	defer cancel()
	grant, err := l.profile.Fetch(ctx)
	if err != nil {
		_, refused := errors.AsType[*RefusedError](err)
		return Token{}, &admission.Blocked{
			Key:     l.profile.Name,
			Reason:  "login of " + l.profile.Name + " failed",
			Refused: refused,
			Err:     err,
		}
	}
	l.current = Token{Value: grant.Value, Gen: l.current.Gen + 1, Origin: Fetched}
	if grant.Life <= 0 {
		grant.Life = l.profile.DefaultLife
	}
	l.expires = began.Add(grant.Life)
	return l.current, nil
}

// Reject implements Source.
func (l *local) Reject(_ context.Context, t Token) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Gen == l.current.Gen {
		l.expires = time.Time{}
	}
	return t.Origin != Fetched
}

// Suspect implements Source.
func (l *local) Suspect(ctx context.Context, t Token) bool {
	return l.Reject(ctx, t)
}
