package redisguard

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	pings = 10
	reads = 3 // of the clock; the one with the shortest round trip counts

	// MaxSkew is how far apart the clocks of a machine and of Redis may be.
	MaxSkew = 2 * time.Second
	// A task costs several round trips, so these limit the throughput of a worker.
	farLatency  = 5 * time.Millisecond
	slowLatency = 50 * time.Millisecond
)

// measure reports the clock skew and the round-trip time of a server.
func measure(ctx context.Context, c *redis.Client, now func() time.Time) []Finding {
	return []Finding{clock(ctx, c, now), latency(ctx, c)}
}

func clock(ctx context.Context, c *redis.Client, now func() time.Time) Finding {
	skew, trip, err := skewOf(ctx, c, now)
	if err != nil {
		return Finding{
			Warn,
			Clock,
			"unknown: TIME was not answered",
			"allow the command TIME to the user of REDIS_URL",
		}
	}
	return judgeClock(skew, trip)
}

// skewOf returns by how much the clock of a server is ahead of now, negative if it is
// behind. That is exact to half of the round trip.
func skewOf(ctx context.Context, c *redis.Client, now func() time.Time) (skew, trip time.Duration, err error) {
	for i := range reads {
		before := now()
		theirs, err := c.Time(ctx).Result()
		if err != nil {
			return 0, 0, err
		}
		// Redis read its clock between the two.
		if took := now().Sub(before); i == 0 || took < trip {
			trip = took
			skew = theirs.Sub(before.Add(took / 2))
		}
	}
	return skew, trip, nil
}

// surely is how much of a skew the round trip does not explain. Less than a millisecond is
// none.
func surely(skew, trip time.Duration) time.Duration {
	apart := skew.Abs() - trip/2
	switch {
	case apart < time.Millisecond:
		return 0
	case skew < 0:
		return -apart
	}
	return apart
}

func judgeClock(skew, trip time.Duration) Finding {
	apart := skew.Abs()
	switch shown := rounded(apart); {
	case apart < time.Millisecond:
		return Finding{OK, Clock, "less than 1ms apart", ""}
	case surely(skew, trip).Abs() <= MaxSkew:
		return Finding{OK, Clock, shown + " apart", ""}
	}
	return Finding{Warn, Clock, SkewText(skew, "this machine's"), FixClock}
}

// FixClock is what to do about clocks that are apart.
const FixClock = "synchronize both clocks with NTP (timedatectl set-ntp true): receivers check the time of events, " +
	"and days, certificates and logs depend on it"

// SkewText describes a skew of Redis' clock against another one.
func SkewText(skew time.Duration, whose string) string {
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return "Redis' clock is " + rounded(skew.Abs()) + " " + direction + " " + whose
}

func latency(ctx context.Context, c *redis.Client) Finding {
	trips := make([]time.Duration, 0, pings)
	for range pings {
		began := time.Now()
		if err := c.Ping(ctx).Err(); err != nil && !answered(err) { // it refuses, and is as quick
			return Finding{
				Warn,
				Latency,
				"unknown: a PING was not answered",
				"check the network between this machine and Redis",
			}
		}
		trips = append(trips, time.Since(began))
	}
	slices.Sort(trips)
	return judgeLatency(trips[pings/2])
}

func judgeLatency(median time.Duration) Finding {
	seen := rounded(median) + " a round trip"
	switch {
	case median > slowLatency:
		return Finding{
			Warn,
			Latency,
			seen + ", and every task takes several",
			"run workers and Redis in the same region",
		}
	case median > farLatency:
		return Finding{
			OK,
			Latency,
			fmt.Sprintf("%s; below %v tasks start sooner", seen, farLatency),
			"",
		}
	}
	return Finding{OK, Latency, seen, ""}
}

// rounded formats d with two or three digits.
func rounded(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= 10*time.Millisecond:
		d = d.Round(time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	default:
		d = d.Round(10 * time.Microsecond)
	}
	return d.String()
}
