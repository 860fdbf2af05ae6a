package app_test

import (
	"strings"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/tasks"
)

// What is limited has a line, what is not has none.
func TestDoctorTellsTheLimits(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	r := examine(t, c.with(map[string]string{
		"DANACONNECT_RATE":     "10/1s",
		"ANNA_RATE":            "100/1h",
		"ANNA_CONCURRENCY":     "4",
		"OTP_RECIPIENT_LIMIT":  "5/10m",
		"OTP_RECIPIENT_FIELDS": "COD1_EMAIL,COD1_CELULAR",
		"DINERO_CLIENT_ID":     "c",
		"DINERO_CLIENT_SECRET": "s",
		"DINERO_API_KEYS":      "1=a,2=b",
		"DINERO_TOKEN_URL":     "http://127.0.0.1:1/",
		"DINERO_API_URL":       "http://127.0.0.1:1/",
	}))
	r.wants(t, "ok", "danaconnect limits danaconnect-otp", "10/1s")
	r.wants(t, "ok", "anna limits", "100/1h, 4 at once")
	r.wants(t, "ok", "dinero limits dinero-1", "95/1m")
	r.wants(t, "ok", "dinero limits dinero-2", "95/1m")
	r.wants(t, "ok", "otp recipients", "5/10m for each, told apart by COD1_EMAIL,COD1_CELULAR")

	r = examine(t, c.environ)
	if strings.Contains(r.text, "limits") || strings.Contains(r.text, "otp recipients") {
		t.Errorf("nothing is limited\n%s", r.text)
	}
	r = examine(t, c.with(map[string]string{"OTP_RECIPIENT_LIMIT": "5/10m"}))
	r.wants(
		t,
		"warn",
		"otp recipients",
		"5/10m for each, told apart by all values together",
		"set OTP_RECIPIENT_FIELDS",
	)
	r = examine(t, c.with(map[string]string{"OTP_RECIPIENT_FIELDS": "COD1_EMAIL"}))
	r.wants(t, "warn", "otp recipients", "not guarded", "set OTP_RECIPIENT_LIMIT")
}

// Settings that limit reach the worker's calls: the second code to one recipient
// is declined, the first call of the hour is the last.
func TestWorkerObeysItsLimits(t *testing.T) {
	t.Parallel()
	s := startSite(
		t,
		map[string]string{
			"OTP_RECIPIENT_LIMIT":  "1/1h",
			"OTP_RECIPIENT_FIELDS": "COD1_EMAIL",
			"DANACONNECT_RATE":     "2/1h",
		},
	)
	if _, err := run(t, s, otpFor("ana@example.com")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, s, otpFor("ana@example.com")); err == nil ||
		!strings.Contains(err.Error(), "refused by the recipient guard") {
		t.Errorf("the second one: %v", err)
	}
	ticket, err := tasks.Enqueue(t.Context(), s.client, otpFor("ben@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		status, err := s.client.Status(t.Context(), ticket.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.State == "parked" {
			if !strings.Contains(status.Message, "it waits for the rate of danaconnect-otp (2/1h)") ||
				status.Attempts != 0 {
				t.Errorf("%+v", status)
			}
			break
		}
	}
	if n := s.otp.Calls(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d calls", n)
	}
	// It is counted after it is written.
	for _, want := range []string{
		`errand_tasks_parked_total{credential="danaconnect-otp:rate",type="danaconnect:otp:send"} 1`,
		`errand_limit_waits_total{account="danaconnect-otp",how="parked"} 1`,
	} {
		for {
			if _, metrics := s.get(t, "/metrics"); strings.Contains(metrics, want) {
				break
			}
		}
	}
}
