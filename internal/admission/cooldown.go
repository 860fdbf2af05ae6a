package admission

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/metrics"
)

// The kind of a cool-down, as it is stored in Redis.
const (
	kindRefused = "c" // the vendor refused what is guarded
	kindOutage  = "u" // the login service is in trouble
)

// recheckEvery is how long a process believes a shared cool-down before it asks
// Redis again: an operator may have cleared it.
const recheckEvery = time.Second

// coolDown is the open state of a breaker as this process knows it. It is immutable.
type coolDown struct {
	refused bool // by the vendor; otherwise the login service is in trouble
	reason  string
	until   int64 // clock
	recheck int64 // clock; Redis is not asked before it
	cause   error

	// local: this process met the failure without Redis. refusals and failures
	// are its own steps on the two ladders.
	local    bool
	refusals int
	failures int
}

// blocked is what a caller gets who wants to be admitted now.
func (b *Breaker) blocked(c *coolDown, now int64) *Blocked {
	reason := b.profile.Refusal
	if !c.refused {
		reason = "login of " + b.profile.Name + " is unavailable"
	}
	if c.reason != "" && c.reason != refusedCall.Reason { // that one says no more
		reason += " (" + c.reason + ")"
	}
	return &Blocked{
		Key:        b.profile.Name,
		Reason:     reason,
		RetryAfter: max(time.Duration(c.until-now), time.Millisecond),
		Refused:    c.refused,
		Err:        c.cause,
	}
}

// Unavailable returns the error of a caller that gets no permit, or no token, for
// another cause than a cool-down.
func (b *Breaker) Unavailable(retryAfter time.Duration, cause error) *Blocked {
	return &Blocked{
		Key:        b.profile.Name,
		Reason:     "login of " + b.profile.Name + " is unavailable",
		RetryAfter: max(retryAfter, 100*time.Millisecond),
		Err:        cause,
	}
}

// Open returns what callers get while the breaker is open without a request to Redis,
// nil if it is not, or if Redis is to be asked again.
func (b *Breaker) Open() error {
	c := b.coolDown.Load()
	if c == nil {
		return nil
	}
	if now := b.Clock(); now < c.recheck {
		return b.blocked(c, now)
	}
	return nil
}

// OpenHere is Open for a process that cannot ask Redis: it believes what it knows.
func (b *Breaker) OpenHere() error {
	if c := b.coolDown.Load(); c != nil {
		if now := b.Clock(); now < c.until {
			return b.blocked(c, now)
		}
	}
	return nil
}

// Adopt keeps the cool-down that a script replied (ms left, why, refusals, reason) and
// returns its error. cause is the failure that this process met, nil if another one did.
func (b *Breaker) Adopt(left time.Duration, kind, reason string, cause error) error {
	now := b.Clock()
	c := &coolDown{
		refused: kind == kindRefused,
		reason:  reason,
		until:   now + int64(left),
		recheck: now + int64(min(left, recheckEvery)),
		cause:   cause,
	}
	if !c.refused && c.cause == nil {
		c.cause = errors.New("the login service failed lately")
	}
	b.setCoolDown(c)
	return b.blocked(c, now)
}

func (b *Breaker) setCoolDown(c *coolDown) {
	b.coolDown.Store(c)
	b.count.coolDownUntil.Set(metrics.UnixIn(time.Duration(c.until - b.Clock())))
	if c.refused {
		b.notify(true)
	}
}

// Succeeded is called when what is guarded has just worked.
func (b *Breaker) Succeeded() {
	if b.coolDown.Swap(nil) != nil {
		b.count.coolDownUntil.Set(0)
	}
	b.notify(false)
}

// Failure is a failed call or login.
type Failure struct {
	// Refused says that the vendor refused what is guarded. Otherwise the login service
	// is in trouble.
	Refused bool
	// Reason says why, in words that may be stored.
	Reason string
	// Wait is how long the vendor wants to be left alone, 0 if it did not say.
	Wait time.Duration
	// Err is the cause, for the callers of this process.
	Err error
}

func (f Failure) kind() string {
	if f.Refused {
		return kindRefused
	}
	return kindOutage
}

// bounded returns the failure with a reason and a wait that may be stored.
func (f Failure) bounded() Failure {
	f.Reason = storable(f.Reason)
	if f.Wait > 0 {
		f.Wait = min(max(f.Wait, time.Second), maxRetryAfter)
	}
	return f
}

// storable reduces a reason to what may be stored.
func storable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), maxReason)]
}

// Fail opens the breaker for the fleet after a failure and returns the error for the
// callers. With mustHold, it does so only if the lease of nonce is still held. Without
// Redis it opens the breaker for this process.
func (b *Breaker) Fail(keys *Keys, nonce string, mustHold bool, f Failure) error {
	f = f.bounded()
	if keys == nil {
		return b.failHere(f)
	}
	args := b.coolDownArgs(nonce, mustHold, f)
	reply, err := b.RunDirect(CommitTimeout, coolDownScript, keys.own, args...)
	if err != nil {
		return b.failHere(f)
	}
	if mustHold && reply.Text(0) != "1" {
		b.count.leasesLost.Inc()
	}
	left := reply.Millis(1)
	if left == 0 { // the lease was lost and no other process has recorded anything
		return b.failHere(f)
	}
	var cause error
	if !f.Refused {
		cause = f.Err
	}
	return b.Adopt(left, reply.Text(2), reply.Text(4), cause)
}

// FailHere opens the breaker for this process only.
func (b *Breaker) FailHere(f Failure) error {
	return b.failHere(f.bounded())
}

// coolDownArgs are the arguments of coolDownScript.
func (b *Breaker) coolDownArgs(nonce string, mustHold bool, f Failure) []any {
	must := "0"
	if mustHold {
		must = "1"
	}
	args := []any{
		nonce,
		must,
		f.kind(),
		f.Wait.Milliseconds(),
		strconv.FormatFloat(rand.Float64(), 'f', 6, 64),
		f.Reason,
		refusalsKept.Milliseconds(),
		outagesKept.Milliseconds(),
		outageBase.Milliseconds(),
		outageCap.Milliseconds(),
	}
	for _, step := range b.coolDowns {
		args = append(args, step.Milliseconds())
	}
	return args
}

// failHere climbs the same ladders as coolDownScript, for this process.
func (b *Breaker) failHere(f Failure) error {
	now := b.Clock()
	c := &coolDown{
		refused: f.Refused,
		reason:  f.Reason,
		local:   true,
	}
	if !f.Refused {
		c.cause = f.Err
	}
	if before := b.coolDown.Load(); before != nil && before.local {
		c.refusals = before.refusals
		c.failures = before.failures
	}
	step := f.Wait
	if c.refused {
		c.refusals++
		c.failures = 0
		step = b.coolDowns[min(c.refusals, len(b.coolDowns))-1]
	} else {
		c.failures++
		if step == 0 {
			top := min(outageCap, outageBase<<min(c.failures, 10))
			step = outageBase + rand.N(top-outageBase+1)
		}
	}
	c.until = now + int64(step)
	c.recheck = now + int64(min(step, recheckEvery))
	b.setCoolDown(c)
	return b.blocked(c, now)
}

// PublishRefusal tells the fleet of a refusal that this process met while Redis
// did not answer. Without it, the return of Redis would cost one more login
// with a password known to be wrong. Its error says that the cool-down goes on.
func (b *Breaker) PublishRefusal(keys *Keys, nonce string) error {
	c := b.coolDown.Load()
	now := b.Clock()
	if c == nil || !c.local || !c.refused || now >= c.until {
		return nil
	}
	args := b.coolDownArgs(nonce, true, Failure{
		Refused: true,
		Reason:  c.reason,
		Wait:    max(time.Duration(c.until-now), time.Millisecond),
	})
	reply, err := b.RunDirect(CommitTimeout, coolDownScript, keys.own, args...)
	if err != nil || reply.Millis(1) == 0 {
		return b.blocked(c, now)
	}
	return b.Adopt(reply.Millis(1), reply.Text(2), reply.Text(4), nil)
}
