package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/config"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
)

// ClearCoolDown lets a refused credential be tried again at once by all workers,
// after its account was unlocked at the vendor. profile is its name as the doctor
// and the log show it. environ must be the workers' own, because another password
// is another credential. The text says what was done. A *config.Error names wrong
// settings, an *ArgumentError says that there is no such credential.
func ClearCoolDown(ctx context.Context, environ map[string]string, profile string) (string, error) {
	redisconn.LogTo(zerolog.Nop())
	c, err := config.Read(environ)
	if c.Target == nil {
		return "", config.NewError(err)
	}
	rdb := c.Target.Open(redisconn.General)
	defer closeQuietly(rdb)
	var names []string
	var faults []error // wrong settings of one account do not stop the search
	for _, a := range c.Accounts.Configured() {
		opened := account.New(account.Shared{Redis: rdb, Ring: c.Ring})
		defer opened.Close()
		if _, err := a.Open(opened); err != nil {
			faults = append(faults, err)
			continue
		}
		for _, credential := range opened.Credentials {
			if credential.Name == profile {
				text, err := clearCoolDown(ctx, credential, opened.Outages)
				if err != nil {
					return "", err
				}
				return text, record.New(rdb).Act(ctx, record.Action{
					Who:    record.Who(),
					Verb:   "clear",
					Target: profile,
					Result: text,
				})
			}
			names = append(names, credential.Name)
		}
	}
	if len(faults) > 0 {
		faults = append(faults, fmt.Errorf("no usable credential is named %q", profile))
		return "", config.NewError(errors.Join(faults...))
	}
	if len(names) == 0 {
		return "", argumentf(
			"no credential is named %q: none is configured here; run the command with the workers' settings", profile,
		)
	}
	return "", argumentf("no credential is named %q; there are %s", profile, strings.Join(names, ", "))
}

func clearCoolDown(ctx context.Context, c account.Credential, outages []*admission.Outage) (string, error) {
	before, err := c.State(ctx)
	if err != nil {
		return "", fmt.Errorf("read the state of %s: %w", c.Name, err)
	}
	if err := c.ClearCoolDown(ctx); err != nil {
		return "", fmt.Errorf("clear the cool-down of %s: %w", c.Name, err)
	}
	rested, err := clearOutage(ctx, c.Name, outages)
	if err != nil {
		return "", fmt.Errorf("close the breaker of %s: %w", c.Name, err)
	}
	if rested {
		return fmt.Sprintf("%s: %s; its calls were stopped; cleared: every worker may try it again within a second",
			c.Name, before), nil
	}
	if before.CoolingFor <= 0 && before.Refusals == 0 {
		return fmt.Sprintf(
			"%s: nothing to clear (%s); if workers report it as refused, they use another password: "+
				"run this command with their settings",
			c.Name,
			before,
		), nil
	}
	return fmt.Sprintf("%s: %s; cleared: every worker may try it again within a second", c.Name, before), nil
}

// clearOutage closes the breaker of an account and reports whether it was open.
func clearOutage(ctx context.Context, name string, outages []*admission.Outage) (rested bool, err error) {
	for _, o := range outages {
		if o.Account() != name {
			continue
		}
		state, err := o.State(ctx)
		if err != nil {
			return false, err
		}
		return !state.Closed, o.Clear(ctx)
	}
	return false, nil
}
