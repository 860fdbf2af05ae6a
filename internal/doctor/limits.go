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
	return checks
}
