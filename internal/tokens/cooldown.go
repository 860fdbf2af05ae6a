package tokens

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// why a credential rests, as the mark in Redis says it.
const (
	whyRefused = "c" // the credential itself
	whyOutage  = "u" // the login service
)

// lookAgain is how long a process believes a shared mark before it asks Redis
// again: somebody may have lifted it.
const lookAgain = time.Second

// coolDown is a credential's rest as this process knows it. It never changes.
type coolDown struct {
	refused bool
	reason  string
	until   int64 // clock
	recheck int64 // clock; before it, nobody needs to ask Redis
	// alone: this process found out by itself, without Redis; n and failures are
	// its own rungs of the ladders.
	alone       bool
	n, failures int
	cause       error
}

// err is what a caller gets who needs the credential now.
func (c *coolDown) err(profile string, now int64) error {
	left := max(time.Duration(c.until-now), time.Millisecond)
	if c.refused {
		return &CoolingError{
			Profile:    profile,
			RetryAfter: left,
			Reason:     c.reason,
		}
	}
	return &UnavailableError{
		Profile:    profile,
		RetryAfter: left,
		Err:        c.cause,
	}
}

// resting gives the cool-down that callers get without a question to Redis.
func (l *link) resting() error {
	c := l.cool.Load()
	if c == nil {
		return nil
	}
	if now := l.clock(); now < c.recheck {
		return c.err(l.profile.Name, now)
	}
	return nil
}

// learn keeps the mark that a script replied and returns its error. cause is
// what this process itself saw, if it did.
func (l *link) learn(left time.Duration, why, reason string, cause error) error {
	now := l.clock()
	c := &coolDown{
		refused: why == whyRefused,
		reason:  reason,
		until:   now + int64(left),
		recheck: now + int64(min(left, lookAgain)),
		cause:   cause,
	}
	if !c.refused && c.cause == nil {
		c.cause = errors.New("the login service failed lately")
	}
	l.rest(c)
	return c.err(l.profile.Name, now)
}

// rest makes c known to this process.
func (l *link) rest(c *coolDown) {
	l.cool.Store(c)
	l.count.coolDownUntil.Set(unixIn(time.Duration(c.until - l.clock())))
	if c.refused {
		l.count.proven.Set(0)
		l.note(true)
	}
}

// works ends the rest: the credential has just been seen to work.
func (l *link) works() {
	if l.cool.Swap(nil) != nil {
		l.count.coolDownUntil.Set(0)
	}
	l.note(false)
}

// hinter is an error that knows how long its server wants to be left alone.
type hinter interface {
	error
	RetryAfterHint() time.Duration
}

// verdict turns a failed login into the mark it deserves: why, a reason safe
// to store, and the wait if the server named one.
func verdict(err error) (why, reason string, forced time.Duration) {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return whyRefused, printable(refused.Reason), 0
	}
	if h, ok := errors.AsType[hinter](err); ok {
		if d := h.RetryAfterHint(); d > 0 {
			forced = min(max(d, time.Second), maxRetryAfter)
		}
	}
	return whyOutage, "", forced
}

// printable bounds a reason before it is stored.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), maxReason)]
}

// mark records a failed login or call for the fleet and returns the error for
// the callers. Without Redis the process climbs the same ladder alone.
func (l *link) mark(keys *keyset, nonce string, mustHold bool, err error) error {
	why, reason, forced := verdict(err)
	if keys == nil {
		return l.markAlone(err)
	}
	r, redisErr := l.tell(
		finalBudget,
		coolScript,
		keys,
		l.coolArgs(nonce, mustHold, why, reason, forced)...)
	if redisErr != nil {
		return l.markAlone(err)
	}
	if mustHold && r.text(0) != "1" {
		l.count.leasesLost.Inc()
	}
	left := r.ms(1)
	if left == 0 { // the lease was lost and nobody else has marked anything
		return l.markAlone(err)
	}
	return l.learn(left, r.text(2), r.text(4), err)
}

func (l *link) coolArgs(
	nonce string,
	mustHold bool,
	why, reason string,
	forced time.Duration,
) []any {
	must := "0"
	if mustHold {
		must = "1"
	}
	args := []any{
		nonce, must, why, forced.Milliseconds(), strconv.FormatFloat(rand.Float64(), 'f', 6, 64), reason,
		refusalsKept.Milliseconds(), outagesKept.Milliseconds(), outageBase.Milliseconds(), outageCap.Milliseconds(),
	}
	for _, step := range l.coolDowns {
		args = append(args, step.Milliseconds())
	}
	return args
}

// markAlone is mark within this process only.
func (l *link) markAlone(err error) error {
	why, reason, forced := verdict(err)
	now := l.clock()
	c := &coolDown{
		refused: why == whyRefused,
		reason:  reason,
		alone:   true,
		cause:   err,
	}
	if before := l.cool.Load(); before != nil && before.alone {
		c.n, c.failures = before.n, before.failures
	}
	step := forced
	if c.refused {
		c.n, c.failures = c.n+1, 0
		step = l.coolDowns[min(c.n, len(l.coolDowns))-1]
	} else {
		c.failures++
		if step == 0 {
			top := min(outageCap, outageBase<<min(c.failures, 10))
			step = outageBase + rand.N(top-outageBase+1)
		}
	}
	c.until = now + int64(step)
	c.recheck = now + int64(min(step, lookAgain))
	l.rest(c)
	return c.err(l.profile.Name, now)
}

// publish hands a refusal that this process met alone to the fleet, now that
// Redis answers again and nobody there knows of it. Without this the return of
// Redis would mean one more login with a password known to be wrong.
func (l *link) publish(keys *keyset, nonce string) error {
	c := l.cool.Load()
	now := l.clock()
	if c == nil || !c.alone || !c.refused || now >= c.until {
		return nil
	}
	left := time.Duration(c.until - now)
	r, err := l.tell(
		finalBudget,
		coolScript,
		keys,
		l.coolArgs(nonce, true, whyRefused, c.reason, max(left, time.Millisecond))...)
	if err != nil || r.ms(1) == 0 {
		return c.err(l.profile.Name, now)
	}
	return l.learn(r.ms(1), r.text(2), r.text(4), nil)
}
