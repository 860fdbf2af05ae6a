package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/tasks"
)

func TestExports(t *testing.T) {
	t.Parallel()
	keys := "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	s := startSite(t, map[string]string{"ENCRYPTION_KEYS": keys})
	s.anna.PutUser("u-2", true)
	s.anna.Inject(sandbox.Fault{Op: annatest.OpInactivate, Status: 500, Times: 1})
	if _, err := run(t, s, tasks.UserInactivate{UserID: "u-1"}); err != nil {
		t.Fatal(err)
	}
	s.otp.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpSend,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	if _, err := run(t, s, otpFor("a@example.com")); err == nil {
		t.Fatal("the send should have ended unknown")
	}

	var out bytes.Buffer
	environ := map[string]string{"REDIS_URL": s.redisURL, "ENCRYPTION_KEYS": keys}
	if err := app.ExportOffboarding(t.Context(), environ, false, &out); err != nil {
		t.Fatal(err)
	}
	var leaver app.Offboarding
	if err := json.Unmarshal(out.Bytes(), &leaver); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if leaver.UserID != "u-1" || leaver.Confirmed == nil || len(leaver.Attempts) != 1 || leaver.Outcome != tasks.Done ||
		leaver.Asked.After(*leaver.Confirmed) {
		t.Errorf("leaver = %+v", leaver)
	}
	out.Reset()
	if err := app.ExportOffboarding(t.Context(), environ, true, &out); err != nil || out.Len() != 0 {
		t.Errorf("unconfirmed: %q, %v", out.String(), err)
	}
	if err := app.ExportOffboarding(t.Context(), map[string]string{"REDIS_URL": s.redisURL}, false, &out); err == nil ||
		!strings.Contains(err.Error(), "ENCRYPTION_KEYS") {
		t.Errorf("without keys: %v", err)
	}
	out.Reset()
	if err := app.ExportDeadLetters(t.Context(), environ, "otp", &out); err != nil {
		t.Fatal(err)
	}
	var letter app.DeadLetter
	if err := json.Unmarshal(out.Bytes(), &letter); err != nil || letter.Outcome != tasks.Unknown ||
		letter.Queue != "otp" ||
		letter.Attempts != 1 {
		t.Errorf("letter = %+v, %v", letter, err)
	}
	if _, wrong := errors.AsType[*app.ConfigError](app.ExportDeadLetters(t.Context(), environ, "opt", &out)); !wrong {
		t.Error("a queue that does not exist was taken")
	}
}
