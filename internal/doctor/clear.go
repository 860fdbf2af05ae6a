package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/vendors"
)

// ClearCoolDown lets a refused credential be tried at once in the whole fleet,
// after its account was unlocked at the vendor. profile is its name as the
// doctor and the log show it. environ must be the workers' own: another
// password is another credential. The text says what was done; a *ConfigError
// names settings that are wrong, or that there is no such credential.
func ClearCoolDown(
	ctx context.Context,
	environ map[string]string,
	profile string,
) (string, error) {
	redisconn.LogTo(zerolog.Nop())
	d := &doctor{environ: environ}
	var err error
	if d.plan, err = read(environ); d.plan.target == nil {
		return "", &ConfigError{err}
	}
	d.redis = d.plan.target.Open(redisconn.General)
	defer closeQuietly(d.redis)
	// The faults of other vendors are no hindrance.
	var names []string
	var faults []error
	for _, s := range d.plan.Vendors.Sites() {
		if !s.Configured() {
			continue
		}
		accounts, err := s.Alone.Open(vendors.Shared{Redis: d.redis, Ring: d.plan.ring})
		if err != nil {
			faults = append(faults, err)
			accounts.Close()
			continue
		}
		defer accounts.Close()
		for _, c := range accounts.Credentials {
			if c.Name == profile {
				return clearCoolDown(ctx, c)
			}
			names = append(names, c.Name)
		}
	}
	known := "none is configured here"
	if len(names) > 0 {
		known = "there are " + strings.Join(names, ", ")
	}
	faults = append(
		faults,
		fmt.Errorf("no usable credential is named %q; %s", profile, known),
	)
	return "", &ConfigError{errors.Join(faults...)}
}

func clearCoolDown(ctx context.Context, c vendors.Credential) (string, error) {
	before, err := c.State(ctx)
	if err != nil {
		return "", fmt.Errorf("read how %s stands: %w", c.Name, err)
	}
	if err := c.ClearCoolDown(ctx); err != nil {
		return "", fmt.Errorf("clear the cool-down of %s: %w", c.Name, err)
	}
	if before.CoolingFor <= 0 && before.Refusals == 0 {
		return fmt.Sprintf(
			"%s: nothing to clear (%s); if workers say it was refused, they have another password, and this must run with theirs",
			c.Name,
			before,
		), nil
	}
	return fmt.Sprintf(
		"%s: %s; cleared: every worker may try it again within a second",
		c.Name,
		before,
	), nil
}
