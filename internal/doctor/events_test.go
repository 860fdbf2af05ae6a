package doctor_test

import (
	"net/http"
	"strings"
	"testing"

	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// The doctor shows the receiver's state as the workers have found it, and how to
// resume events to one that has answered 410 Gone.
func TestDoctorShowsTheReceiver(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		level  string
		seen   string
		fix    []string
	}{
		{
			name:   "accepted",
			status: http.StatusNoContent,
			level:  "ok",
			seen:   "the receiver accepted an event in the last 24 hours",
		},
		{
			name:   "refused",
			status: http.StatusServiceUnavailable,
			level:  "warn",
			seen:   "the receiver accepts no events (",
			fix:    []string{"check the receiver"},
		},
		{
			name:   "gone",
			status: http.StatusGone,
			level:  "FAIL",
			seen:   "stopped: the receiver answered 410 Gone at 20",
			fix:    []string{"when it accepts events again: worker events resume"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			receiver := apptest.NewReceiver(t, tc.status)
			f := newFixture(t)
			f.Receive(receiver)
			w := f.Start(t)
			f.Only() // the doctor's part is about events alone
			runDoctor(t, f.Environ).want(t, "ok", "events", "unproven")
			if _, err := apptest.Run(t, w, otpFor("a@example.com"), tasks.Notify()); err != nil {
				t.Fatal(err)
			}
			receiver.Next()
			// The worker stores the state after the answer. A receiver that refuses is
			// tried again at times, and has no state then.
			var found report
			testwait.Eventually(t, testwait.Limit, tc.level+" events "+tc.seen, func() bool {
				found = runDoctor(t, f.Environ)
				return found.has(tc.level, "events", tc.seen, tc.fix...)
			})
			if found.ok != (tc.level != "FAIL") || strings.Contains(found.text, "canary") {
				t.Errorf("ok = %t\n%s", found.ok, found.text)
			}
			if tc.status != http.StatusGone {
				return
			}
			if _, err := app.ResumeEvents(t.Context(), f.Environ); err != nil {
				t.Fatal(err)
			}
			runDoctor(t, f.Environ).want(t, "ok", "events", "unproven")
		})
	}
}

func TestDoctorWithoutAReceiver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if r := runDoctor(t, f.Environ); strings.Contains(r.text, "  events ") {
		t.Errorf("there is a line about events:\n%s", r.text)
	}
	r := runDoctor(t, f.With(map[string]string{"EVENTS_URL": "https://example.com/"}))
	r.want(
		t,
		"warn",
		"events",
		"not checked: EVENTS_URL or EVENTS_SECRET is wrong",
		"correct the settings above",
	)
	r = runDoctor(t, f.With(map[string]string{
		"EVENTS_URL":    "https://example.com/",
		"EVENTS_SECRET": apptest.EventsSecret,
		"REDIS_URL":     "redis://127.0.0.1:1",
	}))
	r.want(t, "warn", "events", "not checked: Redis does not answer", "see redis above")
}

func TestDoctorCountsTheQueueOfEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only()
	f.Receive(apptest.NewReceiver(t, http.StatusOK))
	runDoctor(t, f.Environ).want(t, "ok", "queues", "a worker with these settings runs events=10;")
}
