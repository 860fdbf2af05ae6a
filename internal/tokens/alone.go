package tokens

import "time"

// tryKeys is how long to wait where only an operator can help: the fleet's token
// is sealed with a key this process lacks.
const tryKeys = 30 * time.Second

// without goes on while Redis does not answer. While the old token is good
// there is nothing to do; otherwise this process logs in for itself, unless
// two sessions would end each other.
func (s *Shared) without(background bool, cause error) (result, error) {
	if background {
		s.hush(s.redisIn())
		return result{}, nil
	}
	return s.loginAlone(background, 0, cause)
}

// loginAlone logs in for this process only: Redis does not answer, or the
// shared token (generation unreadable) does not open here and must not be
// overwritten, as others can read it.
func (s *Shared) loginAlone(
	background bool,
	unreadable int64,
	cause error,
) (result, error) {
	if background {
		s.hush(s.redisIn())
		return result{}, nil
	}
	if s.profile.Exclusive {
		wait := s.redisIn()
		if unreadable > 0 {
			wait = tryKeys
		}
		return result{}, s.unavailable(wait, cause)
	}
	if c := s.cool.Load(); c != nil {
		if now := s.clock(); now < c.until {
			return result{}, c.err(s.profile.Name, now)
		}
	}
	sent := s.clock()
	grant, err := s.fetch()
	if err != nil {
		if s.ctx.Err() != nil {
			return result{}, s.unavailable(0, errClosed)
		}
		return result{}, s.markAlone(err)
	}
	// Newer than anything this process had, older than anything the fleet will
	// issue: the next shared token takes over.
	gen := max(s.seen.Load(), unreadable, s.minGen.Load()) + 1
	c := s.hold(grant, gen, sent)
	s.take(c)
	return result{c.tok, s.count.fallback}, nil
}
