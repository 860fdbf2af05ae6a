package doctor

import (
	"context"

	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/redisguard"
)

// limitChecks shows the limits that the operator has set for an account, and how
// many calls wait for them. An account without limits has no line.
func (d *doctor) limitChecks(ctx context.Context, a config.Account) []Check {
	if a.Validate() != nil || d.redis == nil {
		return nil // the settings' own check says so
	}
	opened := account.New(account.Shared{Redis: d.redis, Ring: d.config.Ring})
	defer opened.Close()
	if _, err := a.Open(opened); err != nil {
		return nil // the credential's check says so
	}
	var checks []Check
	for _, l := range opened.Limiters {
		limited := l.Account()
		c := Check{
			Level: redisguard.OK,
			Name:  a.Name() + " limits",
			Seen:  limited.String(),
		}
		if limited.Name != a.Name() {
			c.Name += " " + limited.Name
		}
		if d.redisAnswers() {
			if state, err := l.State(ctx); err == nil && state.String() != "" {
				c.Seen += "; " + state.String()
			}
		}
		checks = append(checks, c)
	}
	return checks
}

// adviceChecks shows what accounts have to tell beside what is wrong.
func (d *doctor) adviceChecks() []Check {
	var checks []Check
	for _, a := range d.config.Accounts {
		adviser, ok := a.Settings.(account.Adviser)
		if !ok {
			continue
		}
		for _, advice := range adviser.Advice() {
			checks = append(checks, Check(advice))
		}
	}
	return checks
}
