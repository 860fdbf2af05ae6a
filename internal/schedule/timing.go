package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // so that schedules run at the same times in an image without zone files

	"github.com/robfig/cron/v3"
)

// timing says when a schedule is due.
//
// A cron expression matches local times, which jump twice a year. An expression
// for certain hours follows the wall clock:
//
//   - a local time that does not exist that day counts as the first instant that
//     does: 02:30 runs at 03:00. Several such times give one run.
//   - a local time that exists twice runs at its first instant only.
//
// An expression for every hour (*, */1 or 0-23) means an interval in minutes and
// follows elapsed time: it has no gap and no extra run when the clock jumps.
// Vixie cron makes the same distinction.
//
// Only the parser of robfig/cron and its arithmetic in UTC are used. With a zone
// it skips a run whose local time does not exist, and runs twice when a local
// time exists twice.
type timing struct {
	every int64 // seconds; 0 with cron

	cron      *cron.SpecSchedule // of local times, represented as UTC
	everyHour bool
	zone      *time.Location
	text      string
}

const (
	minPeriod = time.Second
	maxPeriod = 366 * 24 * time.Hour
)

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// epoch is where the search for the shortest time between two ticks begins.
var epoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

func parseEvery(text string) (timing, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return timing{}, errors.New("must be a duration such as 30s, 5m or 24h")
	case d < minPeriod:
		return timing{}, errors.New("must be at least 1s")
	case d > maxPeriod:
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
		const message = "must have 5 fields (minute, hour, day of month, month, day of week); it has %d"
		return timing{}, fmt.Errorf(message, n)
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
		return timing{}, errors.New("never matches: there is no such day")
	}
	const allHours = 1<<24 - 1
	return timing{
		cron:      spec,
		everyHour: spec.Hour&allHours == allHours,
		zone:      zone,
		text:      text + " " + zone.String(),
	}, nil
}

// String is the timing as `worker schedule list` shows it.
func (t timing) String() string {
	return t.text
}

// shortest is the least time between two ticks, ignoring clock changes.
func (t timing) shortest() time.Duration {
	if t.every > 0 {
		return time.Duration(t.every) * time.Second
	}
	least := maxPeriod
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

// next is the first slot after a time; zero if there is none in the coming years.
func (t timing) next(after time.Time) time.Time {
	switch {
	case t.every > 0:
		n := after.Unix()
		n -= ((n % t.every) + t.every) % t.every
		return time.Unix(n+t.every, 0)
	case t.everyHour:
		return t.nextElapsed(after)
	default:
		return t.nextWallClock(after)
	}
}

// nextWallClock takes the matching local times in order, and returns the first
// whose instant is later than after. Later local times never have earlier
// instants.
func (t timing) nextWallClock(after time.Time) time.Time {
	for local := wallClock(after.In(t.zone)); ; {
		if local = t.cron.Next(local); local.IsZero() {
			return time.Time{}
		}
		if at := instant(local, t.zone); at.After(after) {
			return at
		}
	}
}

// nextElapsed goes through the spans between clock changes; within one, local
// time passes as UTC does.
func (t timing) nextElapsed(after time.Time) time.Time {
	limit := after.AddDate(6, 0, 0) // robfig/cron searches five years ahead
	for after.Before(limit) {
		at := after.In(t.zone)
		local := wallClock(at)
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
		first := wallClock(end.In(t.zone))
		if ahead = t.cron.Next(first.Add(-time.Second)); ahead.Equal(first) {
			return time.Unix(end.Unix(), 0)
		}
		after = end
	}
	return time.Time{}
}

// wallClock represents a local time as UTC.
func wallClock(at time.Time) time.Time {
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	return time.Date(year, month, day, hour, minute, second, at.Nanosecond(), time.UTC)
}

// instant is the first instant at which the clocks of a zone show a local time,
// or, if they never do, the first instant after it.
func instant(local time.Time, zone *time.Location) time.Time {
	// No zone is more than 14 h from UTC, and none has jumped by more than a day:
	// the offsets this far before and after are the only candidates.
	const around = 38 * time.Hour
	_, before := local.Add(-around).In(zone).Zone()
	_, after := local.Add(around).In(zone).Zone()
	var found time.Time
	for _, offset := range []int{before, after} {
		at := local.Add(-time.Duration(offset) * time.Second)
		if wallClock(at.In(zone)).Equal(local) && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	if !found.IsZero() {
		return time.Unix(found.Unix(), 0)
	}
	// With the old offset the time is after the jump, in the span that begins with
	// the jump.
	start, _ := local.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
	return time.Unix(start.Unix(), 0)
}

// due returns the slot that is due now: the first after last that is at most
// grace late, or else the newest. If none is due, slot is zero and upcoming is
// the next one (zero if there is none).
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
	if after.IsZero() {
		return n // there was none before
	}
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
