package tokens

import (
	"context"
	"time"
)

// Reject implements Source. Only t itself is removed, never the token that has
// replaced it. A 401 on a token that was just issued is not the token's fault:
// then it keeps its place, and rejections are off for 30 seconds in the whole
// fleet, or a lost permission would become a storm of logins. The same holds
// for a second 401, on the token of the replay: it is fresh.
//
// It needs at most one round trip and does not wait for the vendor.
func (s *Shared) Reject(_ context.Context, t Token) (replay bool) {
	if !s.enter() {
		return false
	}
	defer s.wg.Done()
	// One after the other: of 50 calls that met the same 401, one asks Redis.
	s.rejecting.Lock()
	defer s.rejecting.Unlock()
	if s.superseded(t) {
		s.count.replaced.Inc()
		return true
	}
	if s.clock() < s.rejectsOff {
		s.count.heldBack.Inc()
		return false
	}
	if s.tooFresh(t) {
		s.count.fresh.Inc()
		s.rejectsOff = s.clock() + int64(rejectedFor)
		if keys := s.keys.Load(); keys != nil {
			_, _ = s.run(
				rejectedScript,
				keys,
				rejectedFor.Milliseconds(),
			) // each process finds out by itself, too
		}
		return false
	}
	replay, off := s.remove(t, func(keys *keyset) (reply, error) {
		return s.run(rejectScript, keys, t.Gen)
	})
	if !replay {
		s.rejectsOff = s.clock() + int64(off)
	}
	return replay
}

// Suspect implements Source: for vendors that hide an expired token behind an
// ordinary "no". A suspicion costs a login, so the whole fleet has one in five
// minutes per credential. An answer to a token that has been replaced since is
// worth a replay in any case: that costs no login.
func (s *Shared) Suspect(_ context.Context, t Token) (replay bool) {
	if !s.enter() {
		return false
	}
	defer s.wg.Done()
	s.rejecting.Lock()
	defer s.rejecting.Unlock()
	if s.superseded(t) {
		s.count.replaced.Inc()
		return true
	}
	now := s.clock()
	if now < s.suspicionOff || now < s.rejectsOff || s.tooFresh(t) {
		s.count.heldBack.Inc()
		return false
	}
	replay, off := s.remove(t, func(keys *keyset) (reply, error) {
		return s.run(suspectScript, keys, t.Gen, suspectOnceIn.Milliseconds())
	})
	if replay {
		off = suspectOnceIn
	}
	s.suspicionOff = s.clock() + int64(off)
	return replay
}

// superseded: t is not this process' token any more.
func (s *Shared) superseded(t Token) bool {
	if t.Gen <= s.minGen.Load() {
		return true
	}
	c := s.cur.Load()
	return c != nil && t.Gen < c.tok.Gen
}

// tooFresh: t was issued so lately that it cannot have ended.
func (s *Shared) tooFresh(t Token) bool {
	limit, issued := s.profile.FreshFor, t.issued
	if c := s.cur.Load(); c != nil && c.tok.Gen == t.Gen {
		limit, issued = min(limit, c.life/4), c.tok.issued
	} else if issued == 0 {
		return false
	}
	return s.clock()-issued < int64(limit)
}

// remove takes t away from the fleet and from this process, unless ask finds
// that it must stay; off is for how long.
func (s *Shared) remove(
	t Token,
	ask func(*keyset) (reply, error),
) (replay bool, off time.Duration) {
	if keys := s.keys.Load(); keys != nil {
		// Without Redis this process decides for itself.
		if r, err := ask(keys); err == nil {
			switch r[0] {
			case "0":
				s.count.heldBack.Inc()
				return false, r.ms(1)
			case "2":
				s.count.replaced.Inc()
			default:
				s.count.rejected.Inc()
			}
			s.raise(t.Gen)
			return true, 0
		}
	}
	s.count.rejected.Inc()
	s.raise(t.Gen)
	return true, 0
}

// raise makes every generation up to gen rejected. Under rejecting.
func (s *Shared) raise(gen int64) {
	if gen > s.minGen.Load() {
		s.minGen.Store(gen)
	}
}
