package tokens

import (
	"testing"
	"time"
)

func TestCountdown(t *testing.T) {
	t.Parallel()
	last := time.Date(2030, 3, 31, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		now       time.Time
		left, due int
		over      bool
	}{
		{"long before", last.AddDate(0, 0, -31), 31, 0, false},
		{"30 days", last.AddDate(0, 0, -30), 30, 30, false},
		{"30 days, late", last.AddDate(0, 0, -29).Add(-time.Second), 30, 30, false},
		{"15 days", last.AddDate(0, 0, -15), 15, 30, false},
		{"14 days", last.AddDate(0, 0, -14), 14, 14, false},
		{"7 days", last.AddDate(0, 0, -7), 7, 7, false},
		{"2 days", last.AddDate(0, 0, -2), 2, 7, false},
		{"the day before", last.AddDate(0, 0, -1), 1, 1, false},
		{"the last day", last.Add(23 * time.Hour), 0, 1, false},
		{"over", last.AddDate(0, 0, 1), -1, 1, true},
		{"in another zone", time.Date(2030, 3, 31, 23, 0, 0, 0, time.FixedZone("west", -5*3600)), -1, 1, true},
	} {
		if got := CountdownTo(last, tt.now); got != (Countdown{DaysLeft: tt.left, Threshold: tt.due, Expired: tt.over}) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	if got := CountdownTo(time.Time{}, last); got != (Countdown{}) {
		t.Errorf("a token without an end: %+v", got)
	}
}
