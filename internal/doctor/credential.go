package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/tokens"
)

// openedAccount is an account whose credentials are checked.
type openedAccount struct {
	*account.Account
	now     func() time.Time
	metrics *prometheus.Registry
	// mayLogin: a token got here is stored as the fleet stores it.
	mayLogin bool
}

func (d *doctor) open(s config.Account) (*openedAccount, error) {
	registry := prometheus.NewRegistry()
	opened := &openedAccount{
		Account: account.New(account.Shared{
			Redis:        d.redis,
			Ring:         d.config.Ring,
			TokenOptions: []tokens.Option{tokens.WithMetrics(tokens.NewMetrics(registry))},
		}),
		metrics:  registry,
		now:      d.now,
		mayLogin: !d.faulty("ENCRYPTION_"),
	}
	if _, err := s.Open(opened.Account); err != nil {
		opened.Close()
		return nil, err
	}
	return opened, nil
}

// check tells how a credential stands. One that logs in is tried, unless the
// fleet knows better: it rests after a refusal, or nothing can be reached.
func (a *openedAccount) check(
	ctx context.Context,
	c account.Credential,
	s config.Account,
	reached bool,
) Check {
	state, err := c.State(ctx)
	if err != nil {
		return Check{
			Level: redisguard.Warn,
			Seen:  "not checked: Redis did not tell in time how it stands",
			Fix:   "run the doctor again",
		}
	}
	source, logsIn := c.CredentialState.(tokens.Source)
	if fault, found := resting(state, s, logsIn); found {
		return fault
	}
	if !logsIn {
		return judgeStatic(state, s, a.now())
	}
	switch {
	case !reached: // a failed login would have the whole fleet wait
		return unasked(state, "the vendor cannot be reached", "see connection above")
	case !a.mayLogin: // the token would be stored for all to read
		return unasked(state, "ENCRYPTION_KEYS is wrong", "correct the settings above")
	}
	if _, err := source.Get(ctx); err != nil {
		return judgeLogin(err, s)
	}
	if a.counted("errand_token_undecryptable_total") {
		return Check{
			Level: redisguard.Fail,
			Seen:  "works, but the fleet's token cannot be opened with these keys, so that this worker would log in for itself",
			Fix:   "set ENCRYPTION_KEYS to the keys of the other workers",
		}
	}
	how := "logged in"
	if !a.counted("errand_token_fetches_total") {
		how = "the fleet has a token"
	}
	if state, err = c.State(ctx); err == nil && state.TokenFor > 0 {
		how += ", valid for " + state.TokenFor.Round(time.Second).String()
	}
	return Check{Level: redisguard.OK, Seen: how}
}

// counted reports whether a counter of this credential is above 0.
func (a *openedAccount) counted(name string) bool {
	families, err := a.metrics.Gather()
	if err != nil {
		return false
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetCounter().GetValue() > 0 {
				return true
			}
		}
	}
	return false
}

// resting is the check of a credential that nobody may try at the moment.
func resting(state tokens.State, s config.Account, logsIn bool) (c Check, found bool) {
	switch {
	case state.CoolingFor <= 0:
		return Check{}, false
	case state.Refused:
		return Check{
			Level: redisguard.Fail,
			Seen:  state.String(),
			Fix:   fixRefused(state.Profile, s),
		}, true
	case logsIn && state.TokenFor <= 0:
		return Check{
			Level: redisguard.Fail,
			Seen:  state.String(),
			Fix:   fixOutage,
		}, true
	default:
		return Check{
			Level: redisguard.Warn,
			Seen:  state.String(),
			Fix:   fixOutage,
		}, true
	}
}

const fixOutage = "look at the vendor's status page; the workers try again by themselves"

// loginOf names the variables of the credential.
func loginOf(s config.Account) string {
	last := len(s.CredentialVariables()) - 1
	if last < 1 {
		return strings.Join(s.CredentialVariables(), "")
	}
	return strings.Join(s.CredentialVariables()[:last], ", ") + " or " + s.CredentialVariables()[last]
}

func fixRefused(profile string, s config.Account) string {
	return fmt.Sprintf(
		"correct %s and restart the workers; or, once the account is unlocked at the vendor: worker credentials clear %s",
		loginOf(s),
		profile,
	)
}

// expiryWarning is how long before its last day a static credential is warned
// about.
const expiryWarning = 30 * 24 * time.Hour

// judgeStatic is for credentials that no harmless call can prove.
func judgeStatic(state tokens.State, s config.Account, now time.Time) Check {
	if on := state.ExpiresOn; !on.IsZero() {
		day := on.Format(time.DateOnly)
		switch left := on.AddDate(0, 0, 1).Sub(now); { // it works on its last day
		case left <= 0:
			return Check{
				Level: redisguard.Fail,
				Seen:  "expired on " + day,
				Fix: "get a new one from the vendor, set " + loginOf(
					s,
				) + " and restart the workers",
			}
		case left <= expiryWarning:
			return Check{
				Level: redisguard.Warn,
				Seen:  "expires on " + day,
				Fix: "get a new one from the vendor in time, set " + loginOf(
					s,
				) + " and restart the workers",
			}
		}
	}
	switch {
	case state.Proven:
		return Check{
			Level: redisguard.OK,
			Seen:  "proven: a call with it was accepted in the last 24 hours",
		}
	case state.Refusals > 0:
		return Check{
			Level: redisguard.Warn,
			Seen:  "unproven; " + state.String(),
			Fix:   fixRefused(state.Profile, s),
		}
	}
	return Check{
		Level: redisguard.Warn,
		Seen:  "unproven: no harmless call can show whether it works, and no task has used it in the last 24 hours",
		Fix:   "the first task proves it; run the doctor again after it",
	}
}

// unasked is for a credential that logs in and was not asked to.
func unasked(state tokens.State, why, fix string) Check {
	if state.TokenFor > 0 {
		return Check{
			Level: redisguard.OK,
			Seen: "the fleet has a token, valid for " + state.TokenFor.Round(time.Second).
				String() +
				" (not tried from here: " + why + ")",
		}
	}
	return Check{
		Level: redisguard.Warn,
		Seen:  "not checked: " + why,
		Fix:   fix,
	}
}

func judgeLogin(err error, s config.Account) Check {
	if e, ok := errors.AsType[*tokens.CoolingError](err); ok {
		return Check{
			Level: redisguard.Fail,
			Seen:  e.Error(),
			Fix:   fixRefused(e.Profile, s),
		}
	}
	if e, ok := errors.AsType[*tokens.UnavailableError](err); ok {
		seen := e.Error()
		if cause, ok := errors.AsType[*clients.Error](err); ok {
			seen = cause.Error() // in our own words, without URL or secret
		}
		return Check{
			Level: redisguard.Fail,
			Seen:  seen,
			Fix:   fixOutage,
		}
	}
	return Check{
		Level: redisguard.Fail,
		Seen:  "the login did not end within the doctor's " + doctorLimit.String(),
		Fix:   fixOutage,
	}
}
