package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // an image without zone files must not change when a schedule runs

	"github.com/robfig/cron/v3"
)

// timing says when a schedule is due.
//
// The cron expression speaks of local times, and twice a year local time jumps.
// An expression for certain hours follows the clock on the wall:
//
//   - a local time that does not exist that day counts as the first instant that
//     does: 02:30 runs at 03:00. Several such times give one run.
//   - a local time that exists twice runs at its first instant only.
//
// An expression for every hour (*, */1 or 0-23) means "every so many minutes",
// and follows the time that passes: it has no hole and no extra run when the
// clock jumps. Vixie's cron draws the same line.
//
// Of robfig/cron the parser and the arithmetic without any zone are used. Its
// own arithmetic with a zone is different: it leaves out a day's run whose local
// time does not exist, and runs twice what exists twice.
type timing struct {
	every int64 // seconds; 0 with cron

	cron   *cron.SpecSchedule // of local times, written as if they were UTC
	steady bool               // for every hour of the day
	zone   *time.Location
	text   string
}

const (
	minEvery = time.Second
	maxEvery = 366 * 24 * time.Hour
)

var cronParser = cron.NewParser(
	cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow,
)

// epoch is from when the shortest distance between two ticks is looked for.
var epoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

func parseEvery(text string) (timing, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return timing{}, errors.New("must be a duration such as 30s, 5m or 24h")
	case d < minEvery:
		return timing{}, errors.New("must be at least 1s")
	case d > maxEvery:
		return timing{}, errors.New("must be at most 8784h (366 days)")
	case d%time.Second != 0:
		return timing{}, errors.New("must be whole seconds")
	}
	return timing{every: int64(d / time.Second), text: "every " + text}, nil
}

func parseCron(text string, zone *time.Location) (timing, error) {
	if strings.Contains(text, "TZ=") {
		return timing{}, errors.New("must not name a time zone; timeZone does")
	}
	if n := len(strings.Fields(text)); n != 5 {
		return timing{}, fmt.Errorf(
			"must have 5 fields (minute, hour, day of month, month, day of week); it has %d",
			n,
		)
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return timing{}, fmt.Errorf("cannot be read: %w", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return timing{}, errors.New("cannot be read")
	}
	spec.Location = time.UTC
	if spec.Next(epoch).IsZero() {
		return timing{}, errors.New("never comes: there is no such day")
	}
	const allHours = 1<<24 - 1
	return timing{
		cron:   spec,
		steady: spec.Hour&allHours == allHours,
		zone:   zone,
		text:   text + " " + zone.String(),
	}, nil
}

// String is the timing as the list shows it.
func (t timing) String() string {
	return t.text
}

// shortest is the least time between two ticks, clock changes left aside.
func (t timing) shortest() time.Duration {
	if t.every > 0 {
		return time.Duration(t.every) * time.Second
	}
	least := maxEvery
	at := t.cron.Next(epoch)
	for range 2000 {
		next := t.cron.Next(at)
		if next.IsZero() {
			break
		}
		least = min(least, next.Sub(at))
		at = next
	}
	return least
}

// next is the first slot after a time; zero if there is none in the next years.
func (t timing) next(after time.Time) time.Time {
	switch {
	case t.every > 0:
		n := after.Unix()
		n -= ((n % t.every) + t.every) % t.every
		return time.Unix(n+t.every, 0)
	case t.steady:
		return t.nextSteady(after)
	default:
		return t.nextOnWall(after)
	}
}

// nextOnWall asks for local times in order, and takes the first whose instant
// is later. Instants never go down as local times go up.
func (t timing) nextOnWall(after time.Time) time.Time {
	for local := wall(after.In(t.zone)); ; {
		if local = t.cron.Next(local); local.IsZero() {
			return time.Time{}
		}
		if at := instant(local, t.zone); at.After(after) {
			return at
		}
	}
}

// nextSteady goes through the spans between clock changes; within one, local
// time passes like any other.
func (t timing) nextSteady(after time.Time) time.Time {
	limit := after.AddDate(6, 0, 0) // beyond what robfig/cron looks ahead
	for after.Before(limit) {
		at := after.In(t.zone)
		local := wall(at)
		ahead := t.cron.Next(local)
		if ahead.IsZero() {
			return time.Time{}
		}
		found := at.Add(ahead.Sub(local))
		_, end := at.ZoneBounds()
		if end.IsZero() || found.Before(end) {
			return time.Unix(found.Unix(), 0)
		}
		// The next span begins at end, and end itself may match there.
		first := wall(end.In(t.zone))
		if ahead = t.cron.Next(first.Add(-time.Second)); ahead.Equal(first) {
			return time.Unix(end.Unix(), 0)
		}
		after = end
	}
	return time.Time{}
}

// wall writes a local time as if it were UTC.
func wall(at time.Time) time.Time {
	return time.Date(
		at.Year(),
		at.Month(),
		at.Day(),
		at.Hour(),
		at.Minute(),
		at.Second(),
		at.Nanosecond(),
		time.UTC,
	)
}

// instant is the first instant at which the clocks of a zone show a local time,
// or, if they never do, the first instant after it.
func instant(local time.Time, zone *time.Location) time.Time {
	// No zone is further than 14 h from UTC, and none has moved by more than a
	// day: these are the offsets that can matter.
	const around = 38 * time.Hour
	_, before := local.Add(-around).In(zone).Zone()
	_, after := local.Add(around).In(zone).Zone()
	var found time.Time
	for _, offset := range []int{before, after} {
		at := local.Add(-time.Duration(offset) * time.Second)
		if wall(at.In(zone)).Equal(local) && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	if !found.IsZero() {
		return time.Unix(found.Unix(), 0)
	}
	// With the old offset the time lies behind the jump, in the span that the
	// jump has begun.
	start, _ := local.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
	return time.Unix(start.Unix(), 0)
}

// due looks for what is to be done: the first slot after last that is no more
// than grace late, or else the newest one. If nothing is due, slot is zero and
// upcoming the next one (zero if there is none).
func (t timing) due(last, now time.Time, grace time.Duration) (slot, upcoming time.Time) {
	for at := t.next(last); ; at = t.next(at) {
		if at.IsZero() || at.After(now) {
			if !slot.IsZero() {
				at = time.Time{}
			}
			return slot, at
		}
		slot = at
		if now.Sub(at) <= grace {
			return slot, time.Time{}
		}
	}
}

// between counts the slots after one time and before another.
func (t timing) between(after, before time.Time) int {
	n := 0
	for at := t.next(after); !at.IsZero() && at.Before(before); at = t.next(at) {
		n++
	}
	return n
}

// period is the time from a slot to the next one, 0 if there is none.
func (t timing) period(slot time.Time) time.Duration {
	next := t.next(slot)
	if next.IsZero() {
		return 0
	}
	return next.Sub(slot)
}
