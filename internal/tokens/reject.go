package tokens

import (
	"context"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/redisscript"
)

// Reject implements Source. It removes t only, never the token that has
// replaced it. A 401 on a token that was just issued is not the token's fault:
// the token stays, and rejections are off for 30 seconds in the whole fleet, or
// else a lost permission would cause a storm of logins. The same holds for a
// second 401, on the token of the replay, because that is fresh.
//
// It needs at most one round trip and does not wait for the vendor.
func (s *Shared) Reject(_ context.Context, t Token) (replay bool) {
	if !s.BeginWork() {
		return false
	}
	defer s.EndWork()
	// One at a time: of 50 calls that met the same 401, one asks Redis.
	s.rejecting.Lock()
	defer s.rejecting.Unlock()
	if s.replaced(t) {
		s.count.replaced.Inc()
		return true
	}
	if s.Clock() < s.rejectsOffUntil {
		s.count.heldBack.Inc()
		return false
	}
	if s.tooFresh(t) {
		s.count.fresh.Inc()
		s.rejectsOffUntil = s.Clock() + int64(rejectsOffFor)
		if keys := s.KnownKeys(); keys != nil {
			// If this fails, every process learns it from a 401 of its own.
			_, _ = s.Run(rejectsOffScript, scriptKeys(keys), rejectsOffFor.Milliseconds())
		}
		return false
	}
	replay, offFor := s.remove(t, func(keys *admission.Keys) (redisscript.Reply, error) {
		return s.Run(rejectScript, scriptKeys(keys), t.Gen)
	})
	if !replay {
		s.rejectsOffUntil = s.Clock() + int64(offFor)
	}
	return replay
}

// Suspect implements Source, for vendors that hide an expired token behind an
// ordinary "no". A suspicion costs a login, so the whole fleet has one in five
// minutes per credential. An answer to a token that has been replaced since is
// always worth a replay, because that costs no login.
func (s *Shared) Suspect(_ context.Context, t Token) (replay bool) {
	if !s.BeginWork() {
		return false
	}
	defer s.EndWork()
	s.rejecting.Lock()
	defer s.rejecting.Unlock()
	if s.replaced(t) {
		s.count.replaced.Inc()
		return true
	}
	now := s.Clock()
	if now < s.suspectOffUntil || now < s.rejectsOffUntil || s.tooFresh(t) {
		s.count.heldBack.Inc()
		return false
	}
	replay, offFor := s.remove(t, func(keys *admission.Keys) (redisscript.Reply, error) {
		return s.Run(suspectScript, scriptKeys(keys), t.Gen, suspectEvery.Milliseconds())
	})
	if replay {
		offFor = suspectEvery
	}
	s.suspectOffUntil = s.Clock() + int64(offFor)
	return replay
}

// replaced reports whether t is no longer this process' token.
func (s *Shared) replaced(t Token) bool {
	if t.Gen <= s.rejectedGen.Load() {
		return true
	}
	c := s.current.Load()
	return c != nil && t.Gen < c.Gen
}

// tooFresh reports whether t was issued so lately that it cannot have expired.
func (s *Shared) tooFresh(t Token) bool {
	limit, issued := s.profile.MinRejectAge, t.issued
	if c := s.current.Load(); c != nil && c.Gen == t.Gen {
		limit, issued = min(limit, c.life/4), c.issued
	} else if issued == 0 {
		return false
	}
	return s.Clock()-issued < int64(limit)
}

// remove removes t from Redis and from this process, unless ask finds that it
// must stay, for offFor. Without Redis this process decides for itself.
func (s *Shared) remove(
	t Token,
	ask func(*admission.Keys) (redisscript.Reply, error),
) (replay bool, offFor time.Duration) {
	result := "1"
	if keys := s.KnownKeys(); keys != nil {
		if reply, err := ask(keys); err == nil {
			result = reply.Text(0)
			offFor = reply.Millis(1)
		}
	}
	switch result {
	case "0":
		s.count.heldBack.Inc()
		return false, offFor
	case "2":
		s.count.replaced.Inc()
	default:
		s.count.rejected.Inc()
	}
	s.rejectedGen.Store(max(t.Gen, s.rejectedGen.Load()))
	return true, 0
}
