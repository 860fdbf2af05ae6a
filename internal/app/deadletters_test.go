package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/internal/config"
	"errand.internal/tasks"
)

func TestExportDeadLetters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.Start(t)
	f.danaconnect.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpSend,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	if _, err := apptest.Run(t, w, otpFor("a@example.com")); err == nil {
		t.Fatal("the send should have ended unknown")
	}
	for _, queue := range []string{"otp", ""} {
		var out bytes.Buffer
		if err := app.ExportDeadLetters(t.Context(), f.Environ, queue, &out); err != nil {
			t.Fatal(err)
		}
		var letter app.DeadLetter
		if err := json.Unmarshal(out.Bytes(), &letter); err != nil || letter.Outcome != tasks.Unknown ||
			letter.Queue != "otp" ||
			letter.Attempts != 1 {
			t.Errorf("queue %q: %+v, %v", queue, letter, err)
		}
	}
	var out bytes.Buffer
	if err := app.ExportDeadLetters(t.Context(), f.Environ, "dinero", &out); err != nil || out.Len() > 0 {
		t.Errorf("another queue: %q, %v", out.String(), err)
	}
	err := app.ExportDeadLetters(t.Context(), f.Environ, "opt", &out)
	if _, wrong := errors.AsType[*config.Error](err); !wrong {
		t.Errorf("an unknown queue: %v", err)
	}
}
