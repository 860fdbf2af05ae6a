package doctor_test

import (
	"strings"
	"testing"
)

func TestDoctorShowsTheLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := runDoctor(t, f.With(map[string]string{
		"DANACONNECT_RATE":     "10/1s",
		"DCKAP_RATE":           "100/1h",
		"DCKAP_CONCURRENCY":    "4",
		"OTP_RECIPIENT_LIMIT":  "5/10m",
		"OTP_RECIPIENT_FIELDS": "COD1_EMAIL,COD1_CELULAR",
		"DINERO_API_KEYS":      "1=a,2=b",
		"DINERO_TOKEN_URL":     "http://127.0.0.1:1/",
	}))
	r.want(t, "ok", "danaconnect limits danaconnect-otp", "10/1s")
	r.want(t, "ok", "dckap limits", "100/1h, 4 at once")
	r.want(t, "ok", "dinero limits dinero-1", "95/1m")
	r.want(t, "ok", "dinero limits dinero-2", "95/1m")
	r.want(t, "ok", "otp recipients", "5/10m for each, told apart by COD1_EMAIL,COD1_CELULAR")

	f.Remove("DINERO_") // which has a limit by default
	r = runDoctor(t, f.Environ)
	if strings.Contains(r.text, "limits") || strings.Contains(r.text, "otp recipients") {
		t.Errorf("nothing is limited\n%s", r.text)
	}
	r = runDoctor(t, f.With(map[string]string{"OTP_RECIPIENT_LIMIT": "5/10m"}))
	r.want(
		t,
		"warn",
		"otp recipients",
		"5/10m for each, told apart by all values together",
		"set OTP_RECIPIENT_FIELDS",
	)
	r = runDoctor(t, f.With(map[string]string{"OTP_RECIPIENT_FIELDS": "COD1_EMAIL"}))
	r.want(t, "warn", "otp recipients", "not guarded", "set OTP_RECIPIENT_LIMIT")
}
