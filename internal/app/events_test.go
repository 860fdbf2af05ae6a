package app_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/internal/config"
	"errand.internal/tasks"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	receiver := apptest.NewReceiver(t, http.StatusOK)
	f := newFixture(t)
	f.Receive(receiver)
	f.Environ["ENCRYPTION_KEYS"] = apptest.EncryptionKeys
	secret := f.Environ["DINERO_CLIENT_SECRET"]
	f.Environ["DINERO_CLIENT_SECRET"] = "wrong"
	wrong := f.Start(t)

	// The credential is refused: one event, however many tasks wait for it.
	for range 3 {
		if _, err := tasks.Enqueue(t.Context(), wrong.Client, listContacts); err != nil {
			t.Fatal(err)
		}
	}
	if e := receiver.Next(); e.Type != "credential.parked" || e.Data["credential"] != "dinero-123456" {
		t.Errorf("event %+v", e)
	}
	if err := wrong.Stop(); err != nil {
		t.Fatal(err)
	}

	// All workers are restarted with the right one: it works again.
	f.Environ["DINERO_CLIENT_SECRET"] = secret
	right := f.Start(t)
	if _, err := apptest.Run(t, right, listContacts); err != nil {
		t.Fatal(err)
	}
	if e := receiver.Next(); e.Type != "credential.resumed" || e.Data["credential"] != "dinero-123456" {
		t.Errorf("event %+v", e)
	}

	// A task with Notify ends; its result is not in the event.
	const canary = "canary.person@example.com"
	sent, err := apptest.Run(t, right, otpFor(canary), tasks.Notify())
	if err != nil {
		t.Fatal(err)
	}
	e := receiver.Next()
	if e.Type != "task.finished" || e.Data["type"] != "danaconnect:otp:send" || e.Data["outcome"] != "done" ||
		e.Data["attempts"] != 1.0 {
		t.Errorf("event %+v", e)
	}
	if raw, _ := json.Marshal(e); strings.Contains(string(raw), canary) ||
		strings.Contains(string(raw), `"`+sent.IDRequest+`"`) {
		t.Errorf("the event contains the result: %s", raw)
	}

	// A task is cancelled.
	later, err := tasks.Enqueue(t.Context(), right.Client, otpFor(canary), tasks.Notify(), tasks.In(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := right.Client.Cancel(t.Context(), later.ID); err != nil {
		t.Fatal(err)
	}
	if e := receiver.Next(); e.Type != "task.finished" || e.Data["id"] != later.ID ||
		e.Data["outcome"] != "cancelled" {
		t.Errorf("event %+v", e)
	}

	// A task ends archived.
	f.danaconnect.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpSend,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	dead, err := tasks.Enqueue(t.Context(), right.Client, otpFor(canary))
	if err != nil {
		t.Fatal(err)
	}
	if e := receiver.Next(); e.Type != "task.dead" || e.Data["id"] != dead.ID || e.Data["outcome"] != "unknown" ||
		e.Data["type"] != "danaconnect:otp:send" {
		t.Errorf("event %+v", e)
	}

	if err := right.Stop(); err != nil {
		t.Fatal(err)
	}
	for len(receiver.Events) > 0 {
		t.Errorf("an event too many: %+v", <-receiver.Events)
	}
	if log := wrong.Log.String() + right.Log.String(); strings.Contains(log, canary) ||
		strings.Contains(log, apptest.EventsSecret[6:]) {
		t.Error("the log contains personal data or the secret")
	}
}

func TestReceiverThatIsGone(t *testing.T) {
	t.Parallel()
	receiver := apptest.NewReceiver(t, http.StatusGone)
	f := newFixture(t)
	f.Receive(receiver)
	w := f.Start(t)
	resume := func() string {
		t.Helper()
		text, err := app.ResumeEvents(t.Context(), f.Environ)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if text := resume(); !strings.HasPrefix(text, "nothing to resume") {
		t.Error(text)
	}
	if _, err := apptest.Run(t, w, otpFor("a@example.com"), tasks.Notify()); err != nil {
		t.Fatal(err)
	}
	receiver.Next()
	w.Log.Wait(t, "events.gone")
	if text := resume(); !strings.HasPrefix(text, "events are sent again; they were stopped at 20") {
		t.Error(text)
	}
	if strings.Contains(w.Log.String(), "canary") {
		t.Error("the log contains the URL")
	}
}

func TestResumeEventsNamesWrongSettings(t *testing.T) {
	t.Parallel()
	for _, environ := range []map[string]string{
		{},
		{"EVENTS_URL": "http://example.com", "EVENTS_SECRET": apptest.EventsSecret},
		{"EVENTS_URL": "https://example.com"},
	} {
		_, err := app.ResumeEvents(t.Context(), environ)
		if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), "EVENTS_") {
			t.Errorf("%v: %v", environ, err)
		}
	}
}

func TestWorkerThatOnlyDeliversEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only()
	f.Receive(apptest.NewReceiver(t, http.StatusOK))
	w := f.Start(t)
	if err := w.Stop(); err != nil || !strings.Contains(w.Log.String(), `"queues":{"events":10}`) {
		t.Errorf("%v\n%s", err, w.Log)
	}
}
