package tokens

import "time"

// WarnBefore lists how many days before the last day of a static token people
// are warned. Only a person can renew it, on the vendor's web page.
var WarnBefore = []int{30, 14, 7, 1}

// Countdown is how long a static token still works.
type Countdown struct {
	// DaysLeft counts the days after today; 0 on the last day, negative
	// afterwards.
	DaysLeft int
	// Threshold is the smallest of WarnBefore that has been reached, 0 if none
	// has. A caller that remembers it warns once for each.
	Threshold int
	// Expired: the last day has passed.
	Expired bool
}

// CountdownTo computes the countdown at now for a token whose last day is
// expiresOn, as in Profile.ExpiresOn; a zero expiresOn never comes. Days are
// those of UTC, because the date in the settings has no time zone.
func CountdownTo(expiresOn, now time.Time) Countdown {
	if expiresOn.IsZero() {
		return Countdown{}
	}
	c := Countdown{DaysLeft: int(day(expiresOn).Sub(day(now)) / (24 * time.Hour))}
	c.Expired = c.DaysLeft < 0
	for _, days := range WarnBefore {
		if c.DaysLeft <= days {
			c.Threshold = days
		}
	}
	return c
}

func day(t time.Time) time.Time {
	return t.UTC().Truncate(24 * time.Hour)
}
