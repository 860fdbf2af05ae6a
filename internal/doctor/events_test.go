package doctor_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/app"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

// The doctor tells how the receiver of events stands, as the workers have found
// it, and how to have events sent again to one that had said that it is gone.
func TestDoctorKnowsTheReceiver(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name             string
		status           int
		level, seen, fix string
	}{
		{"taken", http.StatusNoContent, "ok", "the receiver has taken one in the last day", ""},
		{"refused", http.StatusServiceUnavailable, "warn", "the receiver takes nothing (", "look at the receiver"},
		{"gone", http.StatusGone, "FAIL", "stopped: the receiver answered 410 Gone at 20", "when it takes events again: worker events resume"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			web, got := hook(t, tc.status)
			s := startSite(
				t,
				map[string]string{
					"EVENTS_URL":    web.URL + "/secret-path",
					"EVENTS_SECRET": hookSecret,
					"REDIS_URL":     redistest.New(t).URL(),
				},
			)
			environ := map[string]string{
				"EVENTS_URL":    web.URL + "/secret-path",
				"EVENTS_SECRET": hookSecret,
				"REDIS_URL":     s.redisURL,
			}
			examine(t, environ).wants(t, "ok", "events", "unproven")
			if _, err := run(t, s, otpFor("a@example.com"), tasks.Notify()); err != nil {
				t.Fatal(err)
			}
			nextEvent(t, got)
			var found report
			for began := time.Now(); ; { // the worker writes it after the answer, and while it rests there are moments between
				found = examine(t, environ)
				if strings.Contains(found.text, tc.seen) || time.Since(began) > 30*time.Second {
					break
				}
			}
			if tc.fix == "" {
				found.wants(t, tc.level, "events", tc.seen)
			} else {
				found.wants(t, tc.level, "events", tc.seen, tc.fix)
			}
			if found.ok != (tc.level != "FAIL") || strings.Contains(found.text, "secret-path") {
				t.Errorf("ok = %t\n%s", found.ok, found.text)
			}
			if tc.status != http.StatusGone {
				return
			}
			if _, err := app.ResumeEvents(t.Context(), environ); err != nil {
				t.Fatal(err)
			}
			examine(t, environ).wants(t, "ok", "events", "unproven")
		})
	}
}

func TestDoctorWithoutAReceiver(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	if found := examine(t, c.environ); strings.Contains(found.text, "  events ") {
		t.Errorf("there are no events to look at:\n%s", found.text)
	}
	examine(
		t,
		c.with(map[string]string{"EVENTS_URL": "https://example.com/"}),
	).wants(t, "warn", "events", "not checked: EVENTS_URL or EVENTS_SECRET is wrong", "correct the settings above")
	examine(
		t,
		c.with(
			map[string]string{
				"EVENTS_URL":    "https://example.com/",
				"EVENTS_SECRET": hookSecret,
				"REDIS_URL":     "redis://127.0.0.1:1",
			},
		),
	).
		wants(t, "warn", "events", "not checked: Redis does not answer", "see redis above")
}
