package schedule

import (
	"strings"
	"testing"
	"time"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestCronAroundClockChanges lists the slots of a day on which local time jumps.
// Times are local, with the offset that tells the two passes of an hour apart.
func TestCronAroundClockChanges(t *testing.T) {
	t.Parallel()
	const (
		newYork    = "America/New_York"
		copenhagen = "Europe/Copenhagen"
		saoPaulo   = "America/Sao_Paulo"
	)
	tests := []struct {
		name, zone, cron string
		from, to         string
		want             string
	}{
		// New York: 10 March 2024 02:00 EST becomes 03:00 EDT; 3 November 02:00 EDT becomes 01:00 EST.
		{
			"spring, the time does not exist", newYork, "30 2 * * *", "2024-03-09T12:00:00Z", "2024-03-12T00:00:00Z",
			"03-10T03:00-0400 03-11T02:30-0400",
		},
		{
			"spring, several that do not exist run once", newYork, "*/15 2 * * *", "2024-03-10T00:00:00Z", "2024-03-10T20:00:00Z",
			"03-10T03:00-0400",
		},
		{
			"spring, together with one that exists", newYork, "0,30 2-3 * * *", "2024-03-10T00:00:00Z", "2024-03-10T20:00:00Z",
			"03-10T03:00-0400 03-10T03:30-0400",
		},
		{
			"spring, before and after the gap", newYork, "59 1,3 * * *", "2024-03-10T00:00:00Z", "2024-03-10T20:00:00Z",
			"03-10T01:59-0500 03-10T03:59-0400",
		},
		{
			"spring, every hour", newYork, "30 * * * *", "2024-03-10T05:00:00Z", "2024-03-10T09:00:00Z",
			"03-10T00:30-0500 03-10T01:30-0500 03-10T03:30-0400 03-10T04:30-0400",
		},
		{
			"spring, every hour at the jump itself", newYork, "0 * * * *", "2024-03-10T05:30:00Z", "2024-03-10T08:30:00Z",
			"03-10T01:00-0500 03-10T03:00-0400 03-10T04:00-0400",
		},
		{
			"autumn, the time exists twice", newYork, "30 1 * * *", "2024-11-02T12:00:00Z", "2024-11-05T00:00:00Z",
			"11-03T01:30-0400 11-04T01:30-0500",
		},
		{
			"autumn, the first instant of the second pass", newYork, "0 1,2 * * *", "2024-11-03T00:00:00Z", "2024-11-03T20:00:00Z",
			"11-03T01:00-0400 11-03T02:00-0500",
		},
		{
			"autumn, asked in the second pass", newYork, "*/20 1 * * *", "2024-11-03T06:10:00Z", "2024-11-04T06:05:00Z",
			"11-04T01:00-0500",
		},
		{
			"autumn, every hour", newYork, "30 * * * *", "2024-11-03T04:00:00Z", "2024-11-03T08:00:00Z",
			"11-03T00:30-0400 11-03T01:30-0400 11-03T01:30-0500 11-03T02:30-0500",
		},

		// Copenhagen: 31 March 2024 02:00 CET becomes 03:00 CEST; 27 October 03:00 CEST becomes 02:00 CET.
		{
			"spring, the time does not exist", copenhagen, "15 2 * * *", "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z",
			"03-31T03:00+0200 04-01T02:15+0200",
		},
		{
			"spring, by day of the week", copenhagen, "0 2 * * 0", "2024-03-25T00:00:00Z", "2024-04-08T00:00:00Z",
			"03-31T03:00+0200 04-07T02:00+0200",
		},
		{
			"spring, every 20 minutes has no gap", copenhagen, "*/20 * * * *", "2024-03-31T00:30:00Z", "2024-03-31T01:50:00Z",
			"03-31T01:40+0100 03-31T03:00+0200 03-31T03:20+0200 03-31T03:40+0200",
		},
		{
			"autumn, the time exists twice", copenhagen, "30 2 * * *", "2024-10-26T12:00:00Z", "2024-10-28T12:00:00Z",
			"10-27T02:30+0200 10-28T02:30+0100",
		},
		{
			"autumn, every two hours", copenhagen, "0 */2 * * *", "2024-10-26T22:30:00Z", "2024-10-27T04:00:00Z",
			"10-27T02:00+0200 10-27T04:00+0100",
		},
		{
			"autumn, every 20 minutes continues", copenhagen, "*/20 * * * *", "2024-10-27T00:30:00Z", "2024-10-27T01:50:00Z",
			"10-27T02:40+0200 10-27T02:00+0100 10-27T02:20+0100 10-27T02:40+0100",
		},

		// Sao Paulo, until 2019 at midnight: 4 November 2018 00:00 becomes 01:00; 17 February 2018 24:00 becomes 23:00.
		{
			"spring, midnight does not exist", saoPaulo, "0 0 * * *", "2018-11-03T12:00:00Z", "2018-11-06T00:00:00Z",
			"11-04T01:00-0200 11-05T00:00-0200",
		},
		{
			"spring, the day of the month is the missing midnight's", saoPaulo, "0 0 4 * *", "2018-11-01T00:00:00Z", "2018-12-10T00:00:00Z",
			"11-04T01:00-0200 12-04T00:00-0200",
		},
		{
			"spring, every hour on that day only", saoPaulo, "0 * 4 11 *", "2018-11-01T00:00:00Z", "2018-11-04T05:30:00Z",
			"11-04T01:00-0200 11-04T02:00-0200 11-04T03:00-0200",
		},
		{
			"autumn, the hour before midnight exists twice", saoPaulo, "30 23 * * *", "2018-02-16T12:00:00Z", "2018-02-19T12:00:00Z",
			"02-16T23:30-0200 02-17T23:30-0200 02-18T23:30-0300",
		},
		{
			"autumn, midnight", saoPaulo, "0 0 * * *", "2018-02-17T12:00:00Z", "2018-02-19T12:00:00Z",
			"02-18T00:00-0300 02-19T00:00-0300",
		},
		{
			"autumn, every hour", saoPaulo, "0 * * * *", "2018-02-18T00:30:00Z", "2018-02-18T03:30:00Z",
			"02-17T23:00-0200 02-17T23:00-0300 02-18T00:00-0300",
		},
		{
			"today there is no change", saoPaulo, "0 0 * * *", "2026-11-01T00:00:00Z", "2026-11-03T00:00:00Z",
			"11-01T00:00-0300 11-02T00:00-0300",
		},
		// The largest jump ever: a whole day.
		{
			"a day that does not exist", "Pacific/Apia", "0 12 * * *", "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z",
			"12-29T12:00-1000 12-31T00:00+1400 12-31T12:00+1400",
		},
	}
	for _, test := range tests {
		t.Run(test.zone+" "+test.name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, test.zone)
			timing, err := parseCron(test.cron, loc)
			if err != nil {
				t.Fatal(err)
			}
			at, to := moment(t, test.from), moment(t, test.to)
			var got []string
			for at = timing.next(at); at.Before(to); at = timing.next(at) {
				got = append(got, at.In(loc).Format("01-02T15:04-0700"))
				if len(got) > 100 {
					break
				}
			}
			if text := strings.Join(got, " "); text != test.want {
				t.Errorf("%s from %s to %s:\n got %s\nwant %s", test.cron, test.from, test.to, text, test.want)
			}
		})
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestNextIsConsistent asks for the next slot from every half minute of the days
// around clock changes: from wherever it is asked, the slots are the same.
func TestNextIsConsistent(t *testing.T) {
	t.Parallel()
	changes := map[string][]string{
		"America/New_York":  {"2024-03-10T07:00:00Z", "2024-11-03T06:00:00Z"},
		"Europe/Copenhagen": {"2024-03-31T01:00:00Z", "2024-10-27T01:00:00Z"},
		"America/Sao_Paulo": {"2018-11-04T03:00:00Z", "2018-02-18T02:00:00Z"},
	}
	crons := []string{"*/20 * * * *", "30 1 * * *", "*/15 0-3,22-23 * * *", "0 0 * * *", "0 2 * * 0", "7 * * * *"}
	for name, days := range changes {
		for _, day := range days {
			for _, expr := range crons {
				timing, err := parseCron(expr, zone(t, name))
				if err != nil {
					t.Fatal(err)
				}
				from := moment(t, day).Add(-30 * time.Hour)
				to := from.Add(60 * time.Hour)
				var slots []time.Time
				for at := timing.next(from.Add(-time.Second)); len(slots) == 0 || slots[len(slots)-1].Before(to); at = timing.next(at) {
					if n := len(slots); n > 0 && !at.After(slots[n-1]) {
						t.Fatalf("%s %s: %s comes after %s", name, expr, at.UTC(), slots[n-1].UTC())
					}
					slots = append(slots, at)
				}
				i := 0
				for at := from; at.Before(to); at = at.Add(30 * time.Second) {
					for !slots[i].After(at) {
						i++
					}
					if got := timing.next(at); !got.Equal(slots[i]) {
						t.Fatalf("%s %s: after %s comes %s, want %s", name, expr, at, got.UTC(), slots[i].UTC())
					}
				}
			}
		}
	}
}

func TestEvery(t *testing.T) {
	t.Parallel()
	timing, err := parseEvery("90s")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, after, want string }{
		{"between", "2026-01-01T00:00:10Z", "2026-01-01T00:01:30Z"},
		{"at a slot", "2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"},
		{"before 1970", "1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := timing.next(moment(t, test.after)).UTC().Format(time.RFC3339); got != test.want {
				t.Errorf("next = %s, want %s", got, test.want)
			}
		})
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	second, err := parseEvery("1s")
	if err != nil {
		t.Fatal(err)
	}
	hour, err := parseEvery("1h")
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) time.Time { return time.Unix(7200*1000, 0).Add(d) }
	tests := []struct {
		name           string
		timing         timing
		last, now      time.Duration
		slot, upcoming time.Duration // -1 for none
		missed         int
	}{
		{"nothing due", second, 0, 900 * time.Millisecond, -1, time.Second, 0},
		{"on time", second, 0, time.Second, time.Second, -1, 0},
		{"a little late, in order", second, 0, 2500 * time.Millisecond, time.Second, -1, 0},
		{"after an outage a slot within grace runs", second, 0, 10 * time.Second, 8 * time.Second, -1, 7},
		{"after an outage the newest runs", hour, 0, 5*time.Hour + 59*time.Minute, 5 * time.Hour, -1, 4},
		{"the newest is on time", hour, 0, 5 * time.Hour, 5 * time.Hour, -1, 4},
		{"none after the newest", hour, 5 * time.Hour, 5*time.Hour + 59*time.Minute, -1, 6 * time.Hour, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			slot, upcoming := test.timing.due(at(test.last), at(test.now), 2*time.Second)
			want := func(what string, got time.Time, d time.Duration) {
				t.Helper()
				if d < 0 && !got.IsZero() || d >= 0 && !got.Equal(at(d)) {
					t.Errorf("%s = %s, want %s", what, got.Sub(at(0)), d)
				}
			}
			want("slot", slot, test.slot)
			want("upcoming", upcoming, test.upcoming)
			if !slot.IsZero() {
				if n := test.timing.between(at(test.last), slot); n != test.missed {
					t.Errorf("missed = %d, want %d", n, test.missed)
				}
			}
		})
	}
}
