package doctor

import (
	"strings"

	"errand.internal/internal/account"
	"errand.internal/internal/redisguard"
)

// settingsChecks reports what is wrong with the settings, and what they weaken.
func (d *doctor) settingsChecks() []Check {
	checks := append(d.faultChecks(), d.encryptionCheck())
	return append(checks, d.adviceChecks()...)
}

func (d *doctor) faultChecks() []Check {
	if len(d.faults) == 0 {
		return []Check{{
			Level: redisguard.OK,
			Name:  "settings",
			Seen:  "complete and valid",
		}}
	}
	var checks []Check
	for _, line := range d.faults {
		c := Check{
			Level: redisguard.Fail,
			Name:  "settings",
			Seen:  line,
			Fix:   ".env.example describes each variable",
		}
		variable, rule, found := strings.Cut(line, ": ")
		if found && variable == strings.ToUpper(variable) {
			c.Seen = variable + " " + rule
			c.Fix = "correct " + variable + "; .env.example describes each variable"
		}
		checks = append(checks, c)
	}
	return checks
}

// isWrong reports whether a variable whose name has the prefix is wrong.
func (d *doctor) isWrong(prefix string) bool {
	for _, line := range d.faults {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

func (d *doctor) encryptionCheck() Check {
	c := Check{Level: redisguard.OK, Name: "encryption keys"}
	switch ids := d.config.Ring.KeyIDs(); {
	case d.isWrong("ENCRYPTION_KEYS"):
		c.Level = redisguard.Warn
		c.Seen = "not checked: ENCRYPTION_KEYS is wrong"
		c.Fix = "correct the settings above"
	case len(ids) == 0:
		c.Level = redisguard.Warn
		c.Seen = "none: payloads, results and tokens are stored in Redis unsealed"
		c.Fix = "set ENCRYPTION_KEYS=k1:$(openssl rand -base64 32), the same on every worker and producer"
	case len(ids) == 1:
		c.Seen = ids[0] + " seals"
	default:
		c.Seen = ids[0] + " seals; " + strings.Join(ids[1:], ", ") + " only for what was sealed before"
	}
	return c
}

// adviceChecks shows what the accounts' settings advise.
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
