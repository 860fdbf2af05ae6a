package app

import (
	"context"
	"fmt"

	"errand.internal/internal/redisguard"
	"errand.internal/internal/vendors"
)

// limitChecks tells what an operator has limited, and who waits for it. What has
// no limits has no line.
func (d *doctor) limitChecks(ctx context.Context, s vendors.Site) []Check {
	if s.Validate() != nil || d.redis == nil {
		return nil // its settings are said to be wrong above
	}
	accounts, err := s.Alone.Open(vendors.Shared{Redis: d.redis, Ring: d.plan.ring})
	if err != nil {
		accounts.Close()
		return nil // as above
	}
	defer accounts.Close()
	var checks []Check
	for _, l := range accounts.Limits {
		account := l.Account()
		c := Check{
			Level: redisguard.OK,
			Name:  s.Name + " limits",
			Seen:  account.String(),
		}
		if account.Name != s.Name {
			c.Name += " " + account.Name
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

// recipientCheck tells who is guarded against too many passcodes.
func (d *doctor) recipientCheck() []Check {
	c := Check{Level: redisguard.OK, Name: "otp recipients"}
	switch r := d.plan.Recipients; {
	case r.Limit.IsZero() && len(r.Fields) == 0:
		return nil
	case r.Limit.IsZero():
		c.Level = redisguard.Warn
		c.Seen = "not guarded: OTP_RECIPIENT_FIELDS has no effect without OTP_RECIPIENT_LIMIT"
		c.Fix = "set OTP_RECIPIENT_LIMIT, for example to 5/10m"
	case len(r.Fields) == 0:
		c.Level = redisguard.Warn
		c.Seen = fmt.Sprintf("%s for each, told apart by all values together", r.Limit)
		c.Fix = "set OTP_RECIPIENT_FIELDS: a name that is written otherwise makes another recipient"
	default:
		c.Seen = fmt.Sprintf("%s for each, told apart by %s", r.Limit, r.Fields)
	}
	return []Check{c}
}
