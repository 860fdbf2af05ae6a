package admission

import (
	"context"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/redisscript"
)

// State is the state of a Breaker in the fleet.
type State struct {
	Profile string
	// TokenFor is how long the fleet's token is still valid, 0 if there is none. Only a
	// tokens.Source sets it.
	TokenFor time.Duration
	// Proven: a call was accepted in the last day.
	Proven bool
	// CoolingFor is what is left of the cool-down, 0 if there is none. Refused
	// tells whether the credential (true) or the login service (false) caused it.
	CoolingFor time.Duration
	Refused    bool
	// Refusals counts the refusals in a row, also after the cool-down has ended.
	Refusals int
	// Reason of the last refusal, in Errand's words.
	Reason string
	// Busy: a process is logging in, or proving the credential, right now.
	Busy bool
	// ExpiresOn is that of the profile.
	ExpiresOn time.Time
}

// String describes the state in one line.
func (s State) String() string {
	var parts []string
	switch {
	case s.TokenFor > 0:
		parts = append(parts, "token valid for "+s.TokenFor.Round(time.Second).String())
	case s.Proven:
		parts = append(parts, "proven")
	}
	times := func(n int) string {
		if n == 1 {
			return "once"
		}
		return fmt.Sprintf("%d times", n)
	}
	reason := ""
	if s.Reason != "" {
		reason = " (" + s.Reason + ")"
	}
	wait := s.CoolingFor.Round(time.Second)
	switch {
	case s.CoolingFor > 0 && s.Refused:
		refusals := times(max(s.Refusals, 1))
		parts = append(parts, fmt.Sprintf("refused %s%s, next try in %s", refusals, reason, wait))
	case s.CoolingFor > 0:
		parts = append(parts, fmt.Sprintf("login service in trouble%s, next try in %s", reason, wait))
	case s.Refusals > 0:
		parts = append(parts, fmt.Sprintf("refused %s%s, may be tried again", times(s.Refusals), reason))
	}
	if s.Busy {
		parts = append(parts, "being tried now")
	}
	if len(parts) == 0 {
		return "not used lately"
	}
	return strings.Join(parts, "; ")
}

// State reads the state in the fleet. It changes nothing and calls no vendor.
func (b *Breaker) State(ctx context.Context) (State, error) {
	state := State{Profile: b.profile.Name, ExpiresOn: b.profile.ExpiresOn}
	reply, err := b.runForOperator(ctx, stateScript)
	if err != nil {
		return state, err
	}
	state.Busy = reply.Bool(0)
	state.CoolingFor = reply.Millis(1)
	state.Refused = state.CoolingFor > 0 && reply.Text(2) == kindRefused
	state.Refusals = int(reply.Int(3))
	state.Reason = reply.Text(4)
	state.Proven = reply.Bool(5)
	if state.CoolingFor <= 0 && reply.Text(2) != kindRefused {
		state.Reason = "" // that of an outage, not of the refusals before it
	}
	return state, nil
}

// ClearCoolDown ends the cool-down, in the whole fleet within a second, and
// forgets how often the vendor refused. It is for operators who have had an account
// unlocked at the vendor.
func (b *Breaker) ClearCoolDown(ctx context.Context) error {
	_, err := b.runForOperator(ctx, clearScript)
	if err == nil {
		b.coolDown.Store(nil)
		b.count.coolDownUntil.Set(0)
	}
	return err
}

// runForOperator runs a script even if Redis failed a moment ago.
func (b *Breaker) runForOperator(ctx context.Context, script *redisscript.Script) (redisscript.Reply, error) {
	var reply redisscript.Reply
	err := b.ForOperator(ctx, func(keys *Keys) (err error) {
		reply, err = b.RunDirect(maxPatience, script, keys.own)
		return err
	})
	return reply, err
}

// ForOperator calls do with the profile's keys, even if Redis failed a moment ago.
func (b *Breaker) ForOperator(ctx context.Context, do func(*Keys) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !b.BeginWork() {
		return ErrClosed
	}
	defer b.EndWork()
	salt, err := withTimeout(maxPatience, b.salt.Check)
	if err != nil {
		return err
	}
	return do(b.profile.keys(salt))
}
