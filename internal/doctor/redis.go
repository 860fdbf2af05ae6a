package doctor

import (
	"time"

	"errand.internal/internal/redisguard"
)

// redisTimeout bounds the inspection of Redis. It leaves most of the run to the
// checks that need Redis.
const redisTimeout = 6 * time.Second

func (d *doctor) redisChecks() []Check {
	if d.redis == nil {
		return []Check{{
			Level: redisguard.Warn,
			Name:  "redis",
			Seen:  "not checked: REDIS_URL is wrong",
			Fix:   "correct the settings above",
		}}
	}
	var checks []Check
	for _, f := range d.redisReport().Findings {
		c := Check{
			Level: f.Level,
			Name:  "redis " + f.Name,
			Seen:  f.Seen,
			Fix:   f.Fix,
		}
		if f.Name == redisguard.Reachable {
			c.Name = "redis"
			c.Seen = f.Seen + " (" + d.config.Target.Redacted() + ")"
		}
		checks = append(checks, c)
	}
	return checks
}

// redisAnswers waits for the inspection of Redis.
func (d *doctor) redisAnswers() bool {
	return d.redisReport().Answered()
}
