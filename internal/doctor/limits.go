package doctor

import (
	"context"

	"errand.internal/internal/redisguard"
)

// limitChecks shows the limits that the operator has set for an account, and how
// many calls wait for them. An account without limits has no line.
func (d *doctor) limitChecks(ctx context.Context, a *openedAccount) []Check {
	if a.err != nil || d.redis == nil {
		return nil // other checks say so
	}
	var checks []Check
	for _, limiter := range a.parts.Limiters {
		limited := limiter.Limits()
		c := Check{
			Level: redisguard.OK,
			Name:  a.Name() + " limits",
			Seen:  limited.String(),
		}
		if limited.Name != a.Name() {
			c.Name += " " + limited.Name
		}
		if d.redisAnswers() {
			if state, err := limiter.State(ctx); err == nil && state.String() != "" {
				c.Seen += "; " + state.String()
			}
		}
		checks = append(checks, c)
	}
	return append(checks, d.outageChecks(ctx, a)...)
}

// outageChecks shows the account's breakers that are not closed.
func (d *doctor) outageChecks(ctx context.Context, a *openedAccount) []Check {
	var checks []Check
	for _, o := range a.parts.Outages {
		if !d.redisAnswers() {
			return nil
		}
		state, err := o.State(ctx)
		if err != nil || state.Closed {
			continue
		}
		checks = append(checks, Check{
			Level: redisguard.Warn,
			Name:  a.Name() + " breaker " + o.Account(),
			Seen:  state.String(),
			Fix:   "check the vendor's status page; when it is mended: worker credentials clear " + o.Account(),
		})
	}
	return checks
}
