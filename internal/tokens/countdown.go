package tokens

import "time"

// WarnBefore are the days before the last day of a static token on which people
// are warned: nobody but a person can renew it, at the vendor's web page.
var WarnBefore = []int{30, 14, 7, 1}

// Countdown is how far the end of a token is.
type Countdown struct {
	// Left is how many days are left after today; 0 on the last day, negative
	// afterwards.
	Left int
	// Due is the tightest of WarnBefore that has been reached, 0 if none has.
	// Whoever warns remembers it, so that each is said once.
	Due int
	// Over: the last day has passed.
	Over bool
}

// CountDown tells which warning is due at now for a token whose last day is
// expiresOn, as in Profile.ExpiresOn; a zero expiresOn never ends. Days
// are those of UTC: whoever writes the day down names no zone.
func CountDown(expiresOn, now time.Time) Countdown {
	if expiresOn.IsZero() {
		return Countdown{}
	}
	c := Countdown{Left: int(day(expiresOn).Sub(day(now)) / (24 * time.Hour))}
	c.Over = c.Left < 0
	for _, days := range WarnBefore {
		if c.Left <= days {
			c.Due = days
		}
	}
	return c
}

func day(t time.Time) time.Time {
	return t.UTC().Truncate(24 * time.Hour)
}
