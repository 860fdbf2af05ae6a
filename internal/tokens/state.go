package tokens

import (
	"context"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/redisscript"
)

// State is a credential's state in the fleet.
type State struct {
	Profile string
	// TokenFor is how long the shared token is still valid, 0 if there is none.
	TokenFor time.Duration
	// Proven: a call with the static credential was accepted in the last day.
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

// State reads the credential's state in the fleet. It changes nothing and calls
// no vendor.
func (s *sharedState) State(ctx context.Context) (State, error) {
	state := State{Profile: s.profile.Name, ExpiresOn: s.profile.ExpiresOn}
	reply, err := s.runForOperator(ctx, stateScript)
	if err != nil {
		return state, err
	}
	state.TokenFor = reply.Millis(0)
	state.Busy = reply.Bool(1)
	state.CoolingFor = reply.Millis(2)
	state.Refused = state.CoolingFor > 0 && reply.Text(3) == kindRefused
	state.Refusals = int(reply.Int(4))
	state.Reason = reply.Text(5)
	state.Proven = reply.Bool(6)
	if state.CoolingFor <= 0 && reply.Text(3) != kindRefused {
		state.Reason = "" // that of an outage, not of the refusals before it
	}
	return state, nil
}

// ClearCoolDown ends the cool-down, in the whole fleet within a second, and
// forgets how often the credential was refused. It is for operators who have
// had an account unlocked at the vendor.
func (s *sharedState) ClearCoolDown(ctx context.Context) error {
	_, err := s.runForOperator(ctx, clearScript)
	if err == nil {
		s.coolDown.Store(nil)
		s.count.coolDownUntil.Set(0)
	}
	return err
}

// runForOperator runs a script whatever the state of the breaker.
func (s *sharedState) runForOperator(ctx context.Context, script *redisscript.Script) (redisscript.Reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.beginWork() {
		return nil, errClosed
	}
	defer s.wg.Done()
	salt, err := withTimeout(connectTimeout, s.salt.Check)
	if err != nil {
		return nil, err
	}
	return s.runDirect(commitTimeout, script, s.profile.keyset(salt))
}
