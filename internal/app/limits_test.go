package app_test

import (
	"strings"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// Limits in the settings apply to the worker's calls: a second code to one
// recipient is declined, and a call beyond the rate waits, but for a passcode that could not
// arrive in time any more.
func TestWorkerObeysItsLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Environ["OTP_RECIPIENT_LIMIT"] = "1/1h"
	f.Environ["OTP_RECIPIENT_FIELDS"] = "COD1_EMAIL"
	f.Environ["DANACONNECT_RATE"] = "2/1h"
	w := f.Start(t)
	if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err == nil ||
		!strings.Contains(err.Error(), "refused by the recipient guard") {
		t.Errorf("the second one: %v", err)
	}
	_, err := apptest.Run(t, w, otpFor("ben@example.com"))
	if apptest.Outcome(err) != tasks.Expired || !strings.Contains(err.Error(), "it could not arrive in time any more") {
		t.Errorf("a passcode whose turn is in an hour: %v", err)
	}
	ticket, err := tasks.Enqueue(t.Context(), w.Client, danaconnect.ContactsLoad{
		TableCode:  "CUSTOMERS",
		FieldsCode: []string{"EMAIL"},
		Rows:       [][]danaconnect.Cell{{"ana@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, testwait.Limit, "the task is parked", func() bool {
		status, err := w.Client.Status(t.Context(), ticket.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.State != tasks.Parked {
			return false
		}
		if !strings.Contains(status.Message, "it waits for the rate of danaconnect-otp (2/1h)") ||
			status.Attempts != 0 {
			t.Errorf("%+v", status)
		}
		return true
	})
	if n := f.danaconnect.Calls(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d calls", n)
	}
	// The counters follow the record.
	for _, want := range []string{
		`errand_tasks_parked_total{blocked_by="danaconnect-otp:rate",type="danaconnect:contacts:load"} 1`,
		`errand_otp_fresh_ratio 0.5`,
		`errand_limit_waits_total{account="danaconnect-otp",how="parked"} 2`,
	} {
		testwait.Eventually(t, testwait.Limit, want, func() bool {
			_, metrics := w.Get(t, "/metrics")
			return strings.Contains(metrics, want)
		})
	}
}
