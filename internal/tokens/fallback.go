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
func (f *tokenFetch) fallBack(unreadable int64, cause error) (fetchResult, error) {
	if f.background {
		f.delayRefresh(f.RedisRetryIn())
		return fetchResult{}, nil
	}
	if f.profile.Exclusive {
		wait := f.RedisRetryIn()
		if unreadable > 0 {
			wait = missingKeyRetry
		}
		return fetchResult{}, f.Unavailable(wait, cause)
	}
	if err := f.OpenHere(); err != nil {
		return fetchResult{}, err
	}
	sent := f.Clock()
	grant, err := f.requestToken()
	if err != nil {
		if f.Context().Err() != nil {
			return fetchResult{}, f.Unavailable(0, admission.ErrClosed)
		}
		return fetchResult{}, f.FailHere(failure(err))
	}
	// Newer than any token this process had and older than any that the fleet
	// will issue, so that the next shared token replaces it.
	gen := max(f.sharedGen.Load(), unreadable, f.rejectedGen.Load()) + 1
	origin := FallbackNoRedis
	if unreadable > 0 {
		origin = FallbackUnreadable
	}
	t := f.newLocalToken(grant, gen, sent, origin)
	f.setCurrent(t)
	return fetchResult{t.Token, f.count.fallback}, nil
}
