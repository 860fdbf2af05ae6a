package clients_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
)

func TestStatusError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind     clients.Kind
		wait     bool // the header counts
		statuses []int
	}{
		{clients.Unknown, false, []int{0, 100, 200, 201, 204, 299}},
		{clients.Invalid, false, []int{300, 301, 302, 303, 304, 307, 308, 399}},
		{clients.Invalid, false, []int{400, 402, 404, 405, 406, 409, 410, 413, 415, 418, 422, 431, 451, 499}},
		{clients.Credentials, false, []int{401, 403}},
		{clients.RateLimited, true, []int{425, 429}},
		{clients.Temporary, true, []int{503}},
		{clients.Unknown, true, []int{408, 500, 501, 502, 504, 505, 520, 599}},
		{clients.Unknown, false, []int{600, 999}},
	}
	for _, tt := range tests {
		for _, status := range tt.statuses {
			e := clients.StatusError("acme", "order", &clients.Answer{Status: status, Header: http.Header{"Retry-After": {"5"}}})
			if e.Kind != tt.kind || e.Status != status || e.NotSent || e.Message == "" {
				t.Errorf("status %d: %+v, want kind %v", status, *e, tt.kind)
			}
			if want := map[bool]time.Duration{true: 5 * time.Second}[tt.wait]; e.RetryAfter != want {
				t.Errorf("status %d: RetryAfter %v, want %v", status, e.RetryAfter, want)
			}
		}
	}
}

func TestStatusRulesLeaveNoGap(t *testing.T) {
	t.Parallel()
	rules := clients.StatusRules()
	for status := 200; status < 600; status++ {
		found := false
		for _, r := range rules {
			found = found || (r.From <= status && status <= r.To)
		}
		if !found {
			t.Errorf("no row for status %d", status)
		}
	}
	rules[0].Kind = clients.Declined
	if clients.StatusRules()[0].Kind == clients.Declined {
		t.Error("StatusRules gives away the table itself")
	}
}

func TestUnreadableError(t *testing.T) {
	t.Parallel()
	e := clients.UnreadableError("acme", "order", &clients.Answer{Status: 200}, "it is empty")
	if e.Kind != clients.Unknown || e.Error() != "acme order: the answer cannot be read: it is empty (HTTP 200)" {
		t.Errorf("%v %q", e.Kind, e.Error())
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	// Far from any real clock, so that only the difference of the two can pass.
	server := time.Date(2003, 2, 1, 10, 0, 0, 0, time.UTC)
	date := server.Format(http.TimeFormat)
	later := server.Add(90 * time.Second)
	tests := []struct {
		name        string
		value, date string
		want        time.Duration
	}{
		{"absent", "", date, 0},
		{"seconds", "120", "", 2 * time.Minute},
		{"seconds with spaces", " 120 ", "", 2 * time.Minute},
		{"zero", "0", "", 0},
		{"too long", "7200", "", time.Hour},
		{"more than an integer holds", strings.Repeat("9", 30), "", time.Hour},
		{"negative", "-5", date, 0},
		{"fraction", "1.5", date, 0},
		{"words", "soon", date, 0},
		{"IMF date", later.Format(http.TimeFormat), date, 90 * time.Second},
		{"RFC 850 date", later.Format("Monday, 02-Jan-06 15:04:05 GMT"), date, 90 * time.Second},
		{"asctime date", later.Format(time.ANSIC), date, 90 * time.Second},
		{"past date", server.Add(-time.Minute).Format(http.TimeFormat), date, 0},
		{"date far ahead", server.Add(48 * time.Hour).Format(http.TimeFormat), date, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			if tt.value != "" {
				h.Set("Retry-After", tt.value)
			}
			if tt.date != "" {
				h.Set("Date", tt.date)
			}
			if got := clients.RetryAfter(h, time.Hour); got != tt.want {
				t.Errorf("RetryAfter(%q) = %v, want %v", tt.value, got, tt.want)
			}
		})
	}
	t.Run("no Date header", func(t *testing.T) {
		t.Parallel()
		for _, answered := range []string{"", "not a date"} {
			h := http.Header{"Retry-After": {time.Now().UTC().Add(30 * time.Minute).Format(http.TimeFormat)}}
			if answered != "" {
				h.Set("Date", answered)
			}
			if got := clients.RetryAfter(h, time.Hour); got <= 29*time.Minute || got > 30*time.Minute {
				t.Errorf("RetryAfter with Date %q = %v, want about 30 min by the local clock", answered, got)
			}
		}
	})
}
