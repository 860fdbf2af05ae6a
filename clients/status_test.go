package clients_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
)

// statuses repeats what each status means: a test that read the table under test
// would test nothing.
var statuses = []struct {
	kind    clients.Kind
	wait    bool // Retry-After is honoured
	message string
	all     []int
}{
	{clients.Unknown, false, "success is claimed but the answer does not say so", []int{200, 201, 204, 299}},
	{clients.Invalid, false, "the request is refused as malformed", []int{400}},
	{clients.Credentials, false, "the login is refused", []int{401}},
	{
		clients.Invalid,
		false,
		"the request is refused",
		[]int{402, 406, 407, 409, 410, 412, 414, 416, 418, 421, 423, 424, 426, 428, 430, 431, 451, 499},
	},
	{
		clients.Credentials,
		false,
		"access is refused: the account lacks the right, or this address is not allowed",
		[]int{403},
	},
	{clients.Invalid, false, "there is no such address or object", []int{404}},
	{clients.Invalid, false, "the method is not allowed", []int{405}},
	{clients.Unknown, true, "the server gave up waiting; the request may have been carried out", []int{408}},
	{clients.Invalid, false, "the request is too large", []int{413}},
	{clients.Invalid, false, "the content type is refused", []int{415}},
	{clients.Invalid, false, "the content is refused", []int{422}},
	{clients.Blocked, true, "refused as too early", []int{425}},
	{clients.Blocked, true, "too many requests", []int{429}},
	{clients.Unknown, true, serverFailed, []int{500, 501, 502, 504, 505, 520, 524, 527, 598, 599}},
	{
		clients.Unknown,
		false,
		"the status is outside of HTTP; the request may have been carried out",
		[]int{0, 100, 101, 199, 600, 999},
	},
}

const serverFailed = "the server failed; the request may have been carried out"

// statusCase is an answer without a body, and what it means.
type statusCase struct {
	answer clients.Answer
	want   clients.Error
}

// statusCases are the statuses in every form: with and without Retry-After, to what
// may be repeated and to what must not.
func statusCases() []statusCase {
	var cases []statusCase
	add := func(a clients.Answer, kind clients.Kind, wait time.Duration, message string) {
		a.Header = http.Header{}
		if wait >= 0 {
			a.Header.Set("Retry-After", "5")
		}
		want := clients.Error{
			Vendor:     "acme",
			Op:         "order",
			Kind:       kind,
			Status:     a.Status,
			Message:    message,
			RetryAfter: max(wait, 0),
		}
		cases = append(cases, statusCase{a, want})
	}
	const none, ignored = -1, 0
	for _, method := range []string{"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		for _, repeatable := range []bool{false, true} {
			a := clients.Answer{Method: method, Repeatable: repeatable}
			for _, tt := range statuses {
				for _, a.Status = range tt.all {
					add(a, tt.kind, none, tt.message)
					if tt.wait {
						add(a, tt.kind, 5*time.Second, tt.message)
					} else {
						add(a, tt.kind, ignored, tt.message)
					}
				}
			}
			for _, a.Status = range []int{300, 301, 302, 303, 304, 307, 308, 399} {
				kind, message := clients.Invalid, "the server redirects; redirects are not followed"
				if !repeatable && (method == "POST" || method == "") {
					kind = clients.Unknown
					message = "the server redirects, perhaps after the work was done; redirects are not followed"
				}
				add(a, kind, none, message)
				add(a, kind, ignored, message)
			}
			a.Status = 503
			add(a, clients.Unknown, none, serverFailed)
			add(a, clients.Temporary, 5*time.Second, "the service is unavailable and says when to try again")
		}
	}
	return cases
}

// statusDiffers returns a status that means something else, "" if none does.
func statusDiffers() string {
	for _, tt := range statusCases() {
		if e := clients.StatusError("acme", "order", &tt.answer); *e != tt.want {
			return fmt.Sprintf("%+v: %+v, want %+v", tt.answer, *e, tt.want)
		}
	}
	return ""
}

func TestStatusError(t *testing.T) {
	t.Parallel()
	if why := statusDiffers(); why != "" {
		t.Error(why)
	}
}

// Only a Retry-After that can be read asks for another try, even one in the past.
func TestRetryAfterOfA503MustBeReadable(t *testing.T) {
	t.Parallel()
	for header, kind := range map[string]clients.Kind{
		"":                              clients.Unknown,
		"soon":                          clients.Unknown,
		"-5":                            clients.Unknown,
		"0":                             clients.Temporary,
		"Sat, 01 Feb 2003 10:00:00 GMT": clients.Temporary,
	} {
		a := &clients.Answer{Status: 503, Header: http.Header{"Retry-After": {header}}}
		if e := clients.StatusError("acme", "order", a); e.Kind != kind {
			t.Errorf("503 with Retry-After %q is %v, want %v", header, e.Kind, kind)
		}
	}
}

func TestEveryStatusRuleIsTested(t *testing.T) {
	clientstest.EveryRowCounts(t, clients.StatusTable(), statusDiffers, func(r clients.StatusRule, field string) bool {
		// An earlier rule already covers the status that such a rule gains or loses.
		return field == "From" &&
			(slices.Contains([]int{299, 399, 400, 403, 404, 499}, r.From) || r.From == 401 && r.To == 499)
	})
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
			t.Errorf("no rule for status %d", status)
		}
	}
	rules[0].Kind = clients.Declined
	if clients.StatusRules()[0].Kind == clients.Declined {
		t.Error("StatusRules returns the table itself, not a copy")
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
	// Far from the real time, so that only the difference of the two dates can pass.
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
		{"overflows an integer", strings.Repeat("9", 30), "", time.Hour},
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
