package app

import (
	"context"
	"fmt"

	"errand.internal/internal/redisguard"
	"errand.internal/internal/vendors"
)

func (d *doctor) vendorChecks(ctx context.Context, s vendors.Site) []Check {
	if !s.Configured() {
		return []Check{{
			Level: redisguard.OK,
			Name:  s.Name,
			Seen:  "not configured",
		}}
	}
	var checks []Check
	reached := true
	for _, a := range s.Addresses {
		name := s.Name
		if len(s.Addresses) > 1 {
			name += " " + a.Variable
		}
		found, ok := d.reach(ctx, name, a, s.Timeouts())
		checks = append(checks, found...)
		reached = reached && ok
	}
	checks = append(checks, d.credentialChecks(ctx, s, reached)...)
	return append(checks, d.limitChecks(ctx, s)...)
}

// credentialChecks asks how the vendor's credentials stand. reached: all its
// addresses could be connected to.
func (d *doctor) credentialChecks(
	ctx context.Context,
	s vendors.Site,
	reached bool,
) []Check {
	name := s.Name + " credential"
	skipped := func(why, fix string) []Check {
		return []Check{{
			Level: redisguard.Warn,
			Name:  name,
			Seen:  "not checked: " + why,
			Fix:   fix,
		}}
	}
	switch {
	case s.Validate() != nil:
		return skipped("its settings are wrong", "correct the settings above")
	case !d.redisAnswers():
		// A login that does not know of a cool-down could lock the account.
		return skipped(
			"Redis does not answer, so nobody can tell whether it rests after a refusal",
			"see redis above",
		)
	}
	ward, err := d.open(s)
	if err != nil {
		return skipped(err.Error(), "correct the settings above")
	}
	defer ward.Close()
	var checks []Check
	for _, c := range ward.Credentials {
		seen := ward.examine(ctx, c, s, reached)
		seen.Name = fmt.Sprintf("%s credential %s", s.Name, c.Name)
		if c.Name == s.Name {
			seen.Name = name
		}
		checks = append(checks, seen)
	}
	return checks
}
