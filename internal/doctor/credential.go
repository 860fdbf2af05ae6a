package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/tokens"
)

// credentialChecks checks the account's credentials. reachable reports whether
// all its hosts accept connections.
func (d *doctor) credentialChecks(ctx context.Context, a *openedAccount, reachable bool) []Check {
	name := a.Name() + " credential"
	skipped := func(why, fix string) []Check {
		return []Check{{
			Level: redisguard.Warn,
			Name:  name,
			Seen:  "not checked: " + why,
			Fix:   fix,
		}}
	}
	switch {
	case errors.Is(a.err, errWrongSettings):
		return skipped(a.err.Error(), "correct the settings above")
	case !d.redisAnswers():
		// A login in spite of a cool-down could lock the account.
		return skipped(
			"Redis does not answer, so it is unknown whether the credential is in its cool-down after a refusal",
			"see redis above",
		)
	case a.err != nil:
		return skipped(a.err.Error(), "correct the settings above")
	}
	var checks []Check
	for _, credential := range a.parts.Credentials {
		c := d.credentialCheck(ctx, credential, a.Account, reachable)
		c.Name = name
		if credential.Name != a.Name() {
			c.Name += " " + credential.Name
		}
		checks = append(checks, c)
		if c, differ := usersCheck(ctx, credential, a.Account); differ {
			c.Name = checks[len(checks)-1].Name
			checks = append(checks, c)
		}
	}
	return checks
}

// usersCheck is the check of what the workers use, if it is not what these settings have.
func usersCheck(ctx context.Context, credential account.Credential, a config.Account) (c Check, differ bool) {
	users, err := credential.Users(ctx)
	if err != nil || len(users.Others) == 0 {
		return Check{}, false
	}
	c = Check{
		Level: redisguard.Warn,
		Seen:  "the workers use another secret than these settings have: " + strings.Join(users.Others, ", "),
		Fix: "run the doctor with the settings of the workers; if " + variablesOf(a) + " has just changed, wait until " +
			"they have proven the new secret, or look into their logs",
	}
	if len(users.Same) > 0 {
		c.Seen = fmt.Sprintf(
			"%d of %d workers use another secret than these settings and the others have: %s",
			len(users.Others),
			len(users.Others)+len(users.Same),
			strings.Join(users.Others, ", "),
		)
		c.Fix = "give all workers the same " + variablesOf(a) + ", in the files that their X_FILE variables name"
	}
	return c, true
}

// credentialCheck checks one credential. It tries one that logs in, unless that
// could do harm.
func (d *doctor) credentialCheck(
	ctx context.Context,
	credential account.Credential,
	a config.Account,
	reachable bool,
) Check {
	state, err := credential.State(ctx)
	if err != nil {
		return Check{
			Level: redisguard.Warn,
			Seen:  "not checked: Redis did not answer in time",
			Fix:   "run the doctor again",
		}
	}
	source, logsIn := credential.CredentialState.(tokens.Source)
	if c, expired := expiredCheck(state, a, d.now()); expired {
		return c
	}
	if c, cooling := coolDownCheck(state, a, logsIn); cooling {
		return c
	}
	switch {
	case !logsIn:
		return staticCheck(state, a, d.now())
	case !reachable: // a failed login would make the whole fleet wait
		return untriedCheck(state, "the vendor cannot be reached", "see connection above")
	case d.isWrong("ENCRYPTION_"): // the token would be stored unsealed
		return untriedCheck(state, "ENCRYPTION_KEYS is wrong", "correct the settings above")
	}
	return loginCheck(ctx, source, credential, a)
}

// loginCheck gets a token, from the fleet or from the vendor.
func loginCheck(
	ctx context.Context,
	source tokens.Source,
	credential account.Credential,
	a config.Account,
) Check {
	token, err := source.Get(ctx)
	if blocked, ok := errors.AsType[*admission.Blocked](err); ok && strings.HasSuffix(blocked.Key, admission.PauseSuffix) {
		return Check{
			Level: redisguard.Warn,
			Seen:  "not checked: " + blocked.Reason,
			Fix:   "see account " + credential.Name + " above",
		}
	}
	if err != nil {
		return failedLoginCheck(err, a)
	}
	seen := "logged in"
	switch token.Origin {
	case tokens.FallbackUnreadable:
		return Check{
			Level: redisguard.Fail,
			Seen:  "works, but the fleet's token cannot be opened with these keys, so this worker would log in for itself",
			Fix:   "set ENCRYPTION_KEYS to the keys of the other workers",
		}
	case tokens.Adopted:
		seen = "the fleet has a token"
	}
	if state, err := credential.State(ctx); err == nil && state.TokenFor > 0 {
		seen += ", valid for " + state.TokenFor.Round(time.Second).String()
	}
	return Check{Level: redisguard.OK, Seen: seen}
}

const fixOutage = "check the vendor's status page; the workers try again by themselves"

// coolDownCheck is the check of a credential in its cool-down, which must not be
// tried.
func coolDownCheck(state admission.State, a config.Account, logsIn bool) (c Check, cooling bool) {
	if state.CoolingFor <= 0 {
		return Check{}, false
	}
	c = Check{
		Level: redisguard.Warn,
		Seen:  state.String(),
		Fix:   fixOutage,
	}
	switch {
	case state.Refused:
		c.Level = redisguard.Fail
		c.Fix = fixRefused(state.Profile, a)
	case logsIn && state.TokenFor <= 0:
		c.Level = redisguard.Fail
	}
	return c, true
}

// variablesOf names the variables of the account's credential.
func variablesOf(a config.Account) string {
	names := a.CredentialVariables()
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func fixRefused(profile string, a config.Account) string {
	return fmt.Sprintf(
		"correct %s and restart the workers, unless the secret is in a file (X_FILE); "+
			"or, once the account is unlocked at the vendor: worker credentials clear %s",
		variablesOf(a),
		profile,
	)
}

// expiryWarning is how long before its last day a static credential is warned
// about.
const expiryWarning = 30 * 24 * time.Hour

// staticCheck is the check of a credential that no harmless call can prove.
func staticCheck(state admission.State, a config.Account, now time.Time) Check {
	if c, expiring := expiryCheck(state.ExpiresOn, a, now); expiring {
		return c
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
			Fix:   fixRefused(state.Profile, a),
		}
	}
	return Check{
		Level: redisguard.Warn,
		Seen:  "unproven: no harmless call can show whether it works, and no task has used it in the last 24 hours",
		Fix:   "run the doctor again after the first task that uses it",
	}
}

// expiryCheck is the check of a credential that has expired, or expires soon.
// lastDay is zero if it is not known.
func expiryCheck(lastDay time.Time, a config.Account, now time.Time) (c Check, expiring bool) {
	if lastDay.IsZero() {
		return Check{}, false
	}
	day := lastDay.Format(time.DateOnly)
	end := lastDay.AddDate(0, 0, 1) // it works on its last day
	fix := "set " + variablesOf(a) + " and restart the workers, unless it is in a file (X_FILE)"
	switch left := end.Sub(now); {
	case left <= 0:
		return Check{
			Level: redisguard.Fail,
			Seen:  "expired on " + day,
			Fix:   "get a new one from the vendor, " + fix,
		}, true
	case left <= expiryWarning:
		return Check{
			Level: redisguard.Warn,
			Seen:  "expires on " + day,
			Fix:   "get a new one from the vendor in time, " + fix,
		}, true
	}
	return Check{}, false
}

// expiredCheck is the check of a credential that has expired, whether or not the vendor has
// noticed: that it was refused is only what follows.
func expiredCheck(state admission.State, a config.Account, now time.Time) (c Check, expired bool) {
	c, expiring := expiryCheck(state.ExpiresOn, a, now)
	if !expiring || c.Level != redisguard.Fail {
		return Check{}, false
	}
	if state.Refusals > 0 {
		c.Seen += "; " + state.String()
	}
	return c, true
}

// untriedCheck is the check of a credential that logs in but was not tried.
func untriedCheck(state admission.State, why, fix string) Check {
	if state.TokenFor > 0 {
		left := state.TokenFor.Round(time.Second)
		return Check{
			Level: redisguard.OK,
			Seen:  fmt.Sprintf("the fleet has a token, valid for %s (not tried from here: %s)", left, why),
		}
	}
	return Check{
		Level: redisguard.Warn,
		Seen:  "not checked: " + why,
		Fix:   fix,
	}
}

func failedLoginCheck(err error, a config.Account) Check {
	c := Check{
		Level: redisguard.Fail,
		Seen:  "the login did not end within the doctor's " + maxDuration.String(),
		Fix:   fixOutage,
	}
	blocked, ok := errors.AsType[*admission.Blocked](err)
	if !ok {
		return c
	}
	c.Seen = blocked.Error()
	if blocked.Refused {
		c.Fix = fixRefused(blocked.Key, a)
	} else if cause, ok := clients.AsError(err); ok {
		c.Seen = cause.Error() // says what the vendor answered, without URL or secret
	}
	return c
}
