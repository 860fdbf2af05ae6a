package tokens

import (
	"time"

	"errand.internal/internal/admission"
)

// missingKeyRetry is the wait of an exclusive profile whose shared token is
// sealed with a key that this process lacks. Only an operator can help.
const missingKeyRetry = 30 * time.Second

// fallBack logs in for this process only, because Redis does not answer, or
// because the shared token does not open here. That token, of generation
// unreadable (0 if there is none), is not overwritten: others can read it.
//
// A background fetch has a good token and needs no login. An exclusive profile
// does not log in: the session of the new token would end that of the old one.
func (s *Shared) fallBack(background bool, unreadable int64, cause error) (fetchResult, error) {
	if background {
		s.delayRefresh(s.RedisRetryIn())
		return fetchResult{}, nil
	}
	if s.profile.Exclusive {
		wait := s.RedisRetryIn()
		if unreadable > 0 {
			wait = missingKeyRetry
		}
		return fetchResult{}, s.Unavailable(wait, cause)
	}
	if err := s.OpenHere(); err != nil {
		return fetchResult{}, err
	}
	sent := s.Clock()
	grant, err := s.requestToken()
	if err != nil {
		if s.Context().Err() != nil {
			return fetchResult{}, s.Unavailable(0, admission.ErrClosed)
		}
		return fetchResult{}, s.FailHere(failure(err))
	}
	// Newer than any token this process had and older than any that the fleet
	// will issue, so that the next shared token replaces it.
	gen := max(s.sharedGen.Load(), unreadable, s.rejectedGen.Load()) + 1
	origin := FallbackNoRedis
	if unreadable > 0 {
		origin = FallbackUnreadable
	}
	t := s.newLocalToken(grant, gen, sent, origin)
	s.setCurrent(t)
	return fetchResult{t.Token, s.count.fallback}, nil
}
