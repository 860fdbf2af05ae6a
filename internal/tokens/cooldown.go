package tokens

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The kind of a cool-down, as it is stored in Redis.
const (
	kindRefused = "c" // the vendor refused the credential
	kindOutage  = "u" // the login service is in trouble
)

// recheckEvery is how long a process believes a shared cool-down before it asks
// Redis again: an operator may have cleared it.
const recheckEvery = time.Second

// coolDown is a credential's cool-down as this process knows it. It is
// immutable.
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
		Reason:     c.reason,
		Err:        c.cause,
	}
}

// coolDownError is what callers get during a cool-down without a request to
// Redis, nil if there is none or Redis is to be asked again.
func (s *sharedState) coolDownError() error {
	c := s.coolDown.Load()
	if c == nil {
		return nil
	}
	if now := s.clock(); now < c.recheck {
		return c.err(s.profile.Name, now)
	}
	return nil
}

// adoptCoolDown keeps the cool-down that a script replied and returns its
// error. cause is the failure that this process met, nil if another one did.
func (s *sharedState) adoptCoolDown(left time.Duration, kind, reason string, cause error) error {
	now := s.clock()
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
	s.setCoolDown(c)
	return c.err(s.profile.Name, now)
}

func (s *sharedState) setCoolDown(c *coolDown) {
	s.coolDown.Store(c)
	s.count.coolDownUntil.Set(unixIn(time.Duration(c.until - s.clock())))
	if c.refused {
		s.notify(true)
	}
}

// endCoolDown is called when the credential has just worked.
func (s *sharedState) endCoolDown() {
	if s.coolDown.Swap(nil) != nil {
		s.count.coolDownUntil.Set(0)
	}
	s.notify(false)
}

// retryAfterHinter is an error with the wait that its server asks for.
type retryAfterHinter interface {
	error
	RetryAfterHint() time.Duration
}

// loginFault is an error that says in words that may be stored what a login was
// answered with.
type loginFault interface {
	error
	LoginFault() string
}

// failure is a failed login or call as it is recorded.
type failure struct {
	kind   string
	reason string        // safe to store
	wait   time.Duration // if the server named one
}

func classify(err error) failure {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return failure{kind: kindRefused, reason: printable(refused.Reason)}
	}
	f := failure{kind: kindOutage}
	if said, ok := errors.AsType[loginFault](err); ok {
		f.reason = printable(said.LoginFault())
	}
	if h, ok := errors.AsType[retryAfterHinter](err); ok {
		if d := h.RetryAfterHint(); d > 0 {
			f.wait = min(max(d, time.Second), maxRetryAfter)
		}
	}
	return f
}

// printable reduces a reason to what may be stored.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), maxReason)]
}

// recordFailure records a failed login or call for the fleet and returns the
// error for the callers. Without Redis it records it for this process.
func (s *sharedState) recordFailure(keys *keyset, nonce string, mustHold bool, err error) error {
	if keys == nil {
		return s.recordFailureLocally(err)
	}
	args := s.coolDownArgs(nonce, mustHold, classify(err))
	reply, redisErr := s.runDirect(commitTimeout, coolDownScript, keys, args...)
	if redisErr != nil {
		return s.recordFailureLocally(err)
	}
	if mustHold && reply.Text(0) != "1" {
		s.count.leasesLost.Inc()
	}
	left := reply.Millis(1)
	if left == 0 { // the lease was lost and no other process has recorded anything
		return s.recordFailureLocally(err)
	}
	return s.adoptCoolDown(left, reply.Text(2), reply.Text(4), err)
}

// coolDownArgs are the arguments of coolDownScript.
func (s *sharedState) coolDownArgs(nonce string, mustHold bool, f failure) []any {
	must := "0"
	if mustHold {
		must = "1"
	}
	args := []any{
		nonce,
		must,
		f.kind,
		f.wait.Milliseconds(),
		strconv.FormatFloat(rand.Float64(), 'f', 6, 64),
		f.reason,
		refusalsKept.Milliseconds(),
		outagesKept.Milliseconds(),
		outageBase.Milliseconds(),
		outageCap.Milliseconds(),
	}
	for _, step := range s.coolDowns {
		args = append(args, step.Milliseconds())
	}
	return args
}

// recordFailureLocally is recordFailure for this process only. It climbs the
// same ladders.
func (s *sharedState) recordFailureLocally(err error) error {
	f := classify(err)
	now := s.clock()
	c := &coolDown{
		refused: f.kind == kindRefused,
		reason:  f.reason,
		cause:   err,
		local:   true,
	}
	if before := s.coolDown.Load(); before != nil && before.local {
		c.refusals = before.refusals
		c.failures = before.failures
	}
	step := f.wait
	if c.refused {
		c.refusals++
		c.failures = 0
		step = s.coolDowns[min(c.refusals, len(s.coolDowns))-1]
	} else {
		c.failures++
		if step == 0 {
			top := min(outageCap, outageBase<<min(c.failures, 10))
			step = outageBase + rand.N(top-outageBase+1)
		}
	}
	c.until = now + int64(step)
	c.recheck = now + int64(min(step, recheckEvery))
	s.setCoolDown(c)
	return c.err(s.profile.Name, now)
}

// publishRefusal tells the fleet of a refusal that this process met while Redis
// did not answer. Without it, the return of Redis would cost one more login
// with a password known to be wrong. Its error says that the cool-down goes on.
func (s *sharedState) publishRefusal(keys *keyset, nonce string) error {
	c := s.coolDown.Load()
	now := s.clock()
	if c == nil || !c.local || !c.refused || now >= c.until {
		return nil
	}
	args := s.coolDownArgs(nonce, true, failure{
		kind:   kindRefused,
		reason: c.reason,
		wait:   max(time.Duration(c.until-now), time.Millisecond),
	})
	reply, err := s.runDirect(commitTimeout, coolDownScript, keys, args...)
	if err != nil || reply.Millis(1) == 0 {
		return c.err(s.profile.Name, now)
	}
	return s.adoptCoolDown(reply.Millis(1), reply.Text(2), reply.Text(4), nil)
}
