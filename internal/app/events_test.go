package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

var hookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of 24 bytes, or more"))

type hooked struct {
	Type string         `json:"type"`
	Data map[string]any `json:"data"`
}

// hook is an operator's system.
func hook(t *testing.T, status int) (web *httptest.Server, got chan hooked) {
	t.Helper()
	verify, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	got = make(chan hooked, 100)
	seen := make(chan map[string]bool, 1)
	seen <- map[string]bool{}
	web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, verify.Verify(body, r.Header)); err != nil {
			t.Error(err)
		}
		var e hooked
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		ids := <-seen
		if id := r.Header.Get("webhook-id"); !ids[id] {
			ids[id] = true
			got <- e
		}
		seen <- ids
		w.WriteHeader(status)
	}))
	t.Cleanup(web.Close)
	return web, got
}

func nextEvent(t *testing.T, got chan hooked) hooked {
	t.Helper()
	select {
	case e := <-got:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event has come")
		panic("unreachable")
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	web, got := hook(t, http.StatusOK)
	redis := redistest.New(t)
	keys := "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	settings := func(more ...string) map[string]string {
		m := map[string]string{
			"REDIS_URL":       redis.URL(),
			"EVENTS_URL":      web.URL,
			"EVENTS_SECRET":   hookSecret,
			"ENCRYPTION_KEYS": keys,
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	wrong := startSite(t, settings("ANNA_PASSWORD", "wrong"))

	// The credential is refused: one event, not one a task.
	for range 3 {
		if _, err := tasks.Enqueue(t.Context(), wrong.client, tasks.UserHash{UserID: "u-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if e := nextEvent(t, got); e.Type != "credential.parked" || e.Data["credential"] != "anna" {
		t.Errorf("event %+v", e)
	}
	if err := wrong.stop(); err != nil {
		t.Fatal(err)
	}

	// All workers are started anew with the right one: it works again.
	right := startSite(t, settings())
	if _, err := run(t, right, tasks.UserHash{UserID: "u-1"}); err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, got); e.Type != "credential.resumed" || e.Data["credential"] != "anna" {
		t.Errorf("event %+v", e)
	}

	// A task with Notify ends; its result is not in the event.
	const canary = "canary.person@example.com"
	sent, err := run(t, right, otpFor(canary), tasks.Notify())
	if err != nil {
		t.Fatal(err)
	}
	e := nextEvent(t, got)
	if e.Type != "task.finished" || e.Data["type"] != "danaconnect:otp:send" || e.Data["outcome"] != "done" ||
		e.Data["attempts"] != 1.0 {
		t.Errorf("event %+v", e)
	}
	if raw, _ := json.Marshal(e); strings.Contains(string(raw), canary) ||
		strings.Contains(string(raw), `"`+sent.IDRequest+`"`) {
		t.Errorf("the event tells the result: %s", raw)
	}

	// A task that is cancelled has ended, too.
	later, err := tasks.Enqueue(t.Context(), right.client, otpFor(canary), tasks.Notify(), tasks.In(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := right.client.Cancel(t.Context(), later.ID); err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, got); e.Type != "task.finished" || e.Data["id"] != later.ID ||
		e.Data["outcome"] != "cancelled" {
		t.Errorf("event %+v", e)
	}

	// A task ends archived.
	right.otp.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpSend,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	dead, err := tasks.Enqueue(t.Context(), right.client, otpFor(canary))
	if err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, got); e.Type != "task.dead" || e.Data["id"] != dead.ID || e.Data["outcome"] != "unknown" ||
		e.Data["type"] != "danaconnect:otp:send" {
		t.Errorf("event %+v", e)
	}

	// A counter changes.
	poll := tasks.MessengerAlerts{MessengerUser: tasks.MessengerUser{UserID: "u-1"}}
	for n := range 3 {
		if err := right.anna.SetAlerts("u-1", n); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, right, poll); err != nil {
			t.Fatal(err)
		}
	}
	var sequence float64
	for range 2 {
		e := nextEvent(t, got)
		current, _ := e.Data["current"].(float64)
		rises, _ := e.Data["sequence"].(float64)
		if subject, _ := e.Data["subject"].(map[string]any); e.Type != "messenger.alerts.changed" ||
			subject["userId"] != "u-1" ||
			e.Data["previous"] != current-1 {
			t.Errorf("event %+v", e)
		}
		if sequence != 0 && rises != sequence+1 && rises != sequence-1 { // they may overtake each other
			t.Errorf("sequence %v after %v", rises, sequence)
		}
		sequence = rises
	}
	if err := right.stop(); err != nil {
		t.Fatal(err)
	}
	for len(got) > 0 {
		t.Errorf("one event more: %+v", <-got)
	}
	if all := wrong.log.String() + right.log.String(); strings.Contains(all, canary) ||
		strings.Contains(all, hookSecret[6:]) {
		t.Error("the log tells a person or the secret")
	}
}

func TestASinkThatIsGone(t *testing.T) {
	t.Parallel()
	web, got := hook(t, http.StatusGone)
	environ := map[string]string{
		"EVENTS_URL":    web.URL + "/secret-path",
		"EVENTS_SECRET": hookSecret,
		"REDIS_URL":     redistest.New(t).URL(),
	}
	s := startSite(t, environ)
	resume := func(environ map[string]string) string {
		t.Helper()
		text, err := app.ResumeEvents(t.Context(), environ)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if text := resume(environ); !strings.HasPrefix(text, "nothing to resume") {
		t.Error(text)
	}
	if _, err := run(t, s, otpFor("a@example.com"), tasks.Notify()); err != nil {
		t.Fatal(err)
	}
	nextEvent(t, got)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !strings.Contains(s.log.String(), "events.gone") {
		if ctx.Err() != nil {
			t.Fatalf("no alert:\n%s", s.log.String())
		}
	}
	if text := resume(environ); !strings.HasPrefix(text, "events are sent again") {
		t.Error(text)
	}
	if strings.Contains(s.log.String(), "secret-path") {
		t.Error("the log tells the URL")
	}
	var wrong *app.ConfigError
	for _, environ := range []map[string]string{{}, {"EVENTS_URL": "http://example.com", "EVENTS_SECRET": hookSecret}, {"EVENTS_URL": web.URL}} {
		if _, err := app.ResumeEvents(t.Context(), environ); !errors.As(err, &wrong) ||
			!strings.Contains(err.Error(), "EVENTS_") {
			t.Errorf("%v: %v", environ, err)
		}
	}
}

// A worker may do nothing but deliver events.
func TestAWorkerForEventsAlone(t *testing.T) {
	t.Parallel()
	web, _ := hook(t, http.StatusOK)
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	err := app.Worker{Stderr: &log, Ready: func(string) { stop() }, Environ: map[string]string{
		"REDIS_URL":     redistest.New(t).URL(),
		"HTTP_ADDR":     "",
		"EVENTS_URL":    web.URL,
		"EVENTS_SECRET": hookSecret,
	}}.Run(ctx)
	stop()
	if err != nil || !strings.Contains(log.String(), `"queues":{"events":10}`) {
		t.Errorf("%v\n%s", err, log.String())
	}
}

func TestDoctorKnowsTheQueueOfEvents(t *testing.T) {
	t.Parallel()
	web, _ := hook(t, http.StatusOK)
	var text bytes.Buffer
	if err := app.Doctor(t.Context(), map[string]string{
		"REDIS_URL": redistest.New(t).URL(), "EVENTS_URL": web.URL, "EVENTS_SECRET": hookSecret,
	}).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "a worker with these settings runs events=10;") {
		t.Error(text.String())
	}
}
