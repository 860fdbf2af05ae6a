package tokens

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// State is how a credential stands in the fleet.
type State struct {
	Profile string
	// TokenFor is how long the shared token is still good, 0 if there is none.
	TokenFor time.Duration
	// Proven: a call with this static credential was accepted in the last day.
	Proven bool
	// CoolingFor is how long nobody may try, 0 if it does not rest. Refused tells
	// whether the credential (true) or the login service (false) is the cause.
	CoolingFor time.Duration
	Refused    bool
	// Refusals counts those in a row on record, also after the rest has ended.
	Refusals int
	// Reason of the last refusal, in our own words.
	Reason string
	// Busy: somebody is logging in, or proving the credential, right now.
	Busy bool
	// ExpiresOn as the profile has it.
	ExpiresOn time.Time
}

// String says it in one line.
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
	switch {
	case s.CoolingFor > 0 && s.Refused:
		parts = append(
			parts,
			fmt.Sprintf(
				"refused %s%s, next try in %s",
				times(max(s.Refusals, 1)),
				reason,
				s.CoolingFor.Round(time.Second),
			),
		)
	case s.CoolingFor > 0:
		parts = append(
			parts,
			"login service in trouble, next try in "+s.CoolingFor.Round(time.Second).
				String(),
		)
	case s.Refusals > 0:
		parts = append(
			parts,
			fmt.Sprintf("refused %s%s, may be tried again", times(s.Refusals), reason),
		)
	}
	if s.Busy {
		parts = append(parts, "being tried now")
	}
	if len(parts) == 0 {
		return "not used lately"
	}
	return strings.Join(parts, "; ")
}

// State reads how the credential stands in the fleet. It changes nothing and
// calls no vendor.
func (l *link) State(ctx context.Context) (State, error) {
	s := State{Profile: l.profile.Name, ExpiresOn: l.profile.ExpiresOn}
	r, err := l.direct(ctx, func(keys *keyset) (reply, error) {
		return l.tell(finalBudget, stateScript, keys)
	})
	if err != nil {
		return s, err
	}
	s.TokenFor = r.ms(0)
	s.Busy = r.int(1) > 0
	s.CoolingFor = r.ms(2)
	s.Refused = s.CoolingFor > 0 && r.text(3) == whyRefused
	s.Refusals = int(r.int(4))
	s.Reason = r.text(5)
	s.Proven = r.int(6) > 0
	return s, nil
}

// ClearCoolDown lets the credential be tried at once, in the whole fleet
// within a second, and forgets how often it was refused. It is for operators
// who have had an account unlocked at the vendor.
func (l *link) ClearCoolDown(ctx context.Context) error {
	_, err := l.direct(ctx, func(keys *keyset) (reply, error) {
		return l.tell(finalBudget, clearScript, keys)
	})
	if err == nil {
		l.cool.Store(nil)
		l.count.coolDownUntil.Set(0)
	}
	return err
}

// direct asks Redis for an operator: whatever the breaker says.
func (l *link) direct(
	ctx context.Context,
	ask func(*keyset) (reply, error),
) (reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !l.enter() {
		return nil, errClosed
	}
	defer l.wg.Done()
	salt, err := within(firstBudget, l.salt.Check)
	if err != nil {
		return nil, err
	}
	return ask(l.profile.keyset(salt))
}
