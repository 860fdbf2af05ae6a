package doctor

import (
	"context"
	"fmt"
	"time"

	"errand.internal/internal/redisguard"
	"errand.internal/internal/schedule"
)

// tickSlack is how late a tick may be, beyond the time over which its tasks are spread,
// before it is said to be.
const tickSlack = 10 * time.Second

// scheduleChecks checks that the ticks of the schedules are enqueued; nothing if there are
// none.
func (d *doctor) scheduleChecks(ctx context.Context) []Check {
	if d.config.Schedules == nil {
		return nil // without SCHEDULE_FILE, or the settings' checks name its problems
	}
	all := Check{Level: redisguard.Warn, Name: "schedules"}
	now, err := time.Time{}, error(nil)
	if d.redisAnswers() {
		now, err = d.redis.Time(ctx).Result()
	}
	if now.IsZero() || err != nil {
		all.Seen = "not checked: Redis does not answer"
		all.Fix = "see redis above"
		return []Check{all}
	}
	var late []Check
	for _, one := range d.config.Schedules.Schedules {
		tick, err := schedule.LastTick(ctx, d.redis, one.Name)
		if err != nil {
			all.Seen = "not checked: Redis did not answer in time"
			all.Fix = "run the doctor again"
			return []Check{all}
		}
		if c, ok := lateCheck(one, tick.Last, now); ok {
			late = append(late, c)
		} else if n := tick.MissedBefore(now); n > 0 {
			late = append(late, missedCheck(one, n, tick.Resumed))
		}
	}
	if len(late) > 0 {
		return late
	}
	all.Level = redisguard.OK
	all.Seen = fmt.Sprintf("%d, on time", len(d.config.Schedules.Schedules))
	return []Check{all}
}

// lateCheck is the check of a schedule whose tick is due and not enqueued. One that has had
// no tick yet is not late.
func lateCheck(one *schedule.Schedule, last, now time.Time) (c Check, late bool) {
	if last.IsZero() {
		return Check{}, false
	}
	due := one.Next(last)
	if due.IsZero() || now.Sub(due) < one.Spread+tickSlack {
		return Check{}, false
	}
	return Check{
		Level: redisguard.Warn,
		Name:  "schedule " + one.Name,
		Seen: fmt.Sprintf(
			"its tick of %s is %s late: no worker enqueues it",
			due.Format(time.RFC3339),
			now.Sub(due).Round(time.Second),
		),
		Fix: "start a worker with this SCHEDULE_FILE; for what must not be left out: worker schedule run " + one.Name,
	}, true
}

// missedCheck is the check of a schedule that is on time again.
func missedCheck(one *schedule.Schedule, missed int, resumed time.Time) Check {
	return Check{
		Level: redisguard.Warn,
		Name:  "schedule " + one.Name,
		Seen: fmt.Sprintf(
			"%d of its ticks before %s were missed: no worker enqueued them in time",
			missed,
			resumed.UTC().Format(time.RFC3339),
		),
		Fix: "for what must not be left out: worker schedule run " + one.Name,
	}
}
