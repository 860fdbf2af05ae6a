package app_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/apptest"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
	"errand.internal/internal/webtest"
	"errand.internal/tasks"
)

// clicker sends requests as a browser, or a program with an API key.
type clicker struct {
	t *testing.T
	*apptest.Worker
}

// send sends a request and returns the status.
func (c clicker) send(method, url, body string, prepare func(*http.Request)) int {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	prepare(req)
	resp, err := webtest.Client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// click presses a button of the web UI.
func (c clicker) click(method, path, body, origin string) int {
	c.t.Helper()
	return c.send(method, "http://"+c.Admin+"/monitoring/api/queues/"+path, body, func(r *http.Request) {
		r.SetBasicAuth("ops", "correct horse battery")
		r.Header.Set("Origin", origin)
	})
}

func (c clicker) later() string {
	c.t.Helper()
	ticket, err := tasks.Enqueue(c.t.Context(), c.Client, otpFor("ana@example.com"), tasks.In(time.Hour))
	if err != nil {
		c.t.Fatal(err)
	}
	return ticket.ID
}

// Whoever changes something by a button or with an API key is in the audit, and each key
// that is used, once a day. What was refused is not.
func TestButtonsAndKeysAreInTheAudit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("danaconnect")
	for name, value := range map[string]string{
		"API_ADDR":             "127.0.0.1:0",
		"API_KEYS":             httpapi.Entry("shop", "errand_shop"),
		"MONITORING_USER":      "ops",
		"MONITORING_PASSWORD":  "correct horse battery",
		"MONITORING_READ_ONLY": "false",
	} {
		f.Environ[name] = value
	}
	c := clicker{t, f.Start(t)}
	own := "http://" + c.Admin
	ids := []string{c.later(), c.later(), c.later()}

	for range 3 {
		withKey := func(r *http.Request) { r.Header.Set("Authorization", "Bearer errand_shop") }
		if got := c.send(http.MethodGet, "http://"+c.API+"/v1/tasks/otp_none", "", withKey); got != http.StatusNotFound {
			t.Fatalf("status %d", got)
		}
	}
	made := ""
	payload := `{"idConversation":824541,"values":{"COD1_EMAIL":"a@example.com"},"type":1,"length":6}`
	if got := c.send(
		http.MethodPost,
		"http://"+c.API+"/v1/tasks/danaconnect:otp:send?in=1h",
		payload,
		func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer errand_shop")
			r.Header.Set("Content-Type", "application/json")
		},
	); got != http.StatusAccepted {
		t.Fatalf("enqueue by HTTP: %d", got)
	}
	store := record.New(f.Redis.Client())
	for _, id := range f.Redis.Client().ZRange(t.Context(), "asynq:{otp}:scheduled", 0, -1).Val() {
		if !slices.Contains(ids, id) {
			made = id
		}
	}
	if got := c.send(http.MethodDelete, "http://"+c.API+"/v1/tasks/"+made, "", func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer errand_shop")
	}); got != http.StatusOK {
		t.Errorf("cancel by HTTP: %d", got)
	}

	for _, press := range []struct {
		method string
		path   string
		body   string
		origin string
		want   int
	}{
		{http.MethodPost, "otp:pause", "", "https://evil.example", http.StatusForbidden},
		{http.MethodDelete, "otp/scheduled_tasks/" + ids[0], "", "https://evil.example", http.StatusForbidden},
		{http.MethodPost, "otp:pause", "", own, http.StatusNoContent},
		{http.MethodPost, "otp:resume", "", own, http.StatusNoContent},
		{http.MethodPost, "otp/scheduled_tasks/" + ids[0] + ":archive", "", own, http.StatusConflict},
		{http.MethodDelete, "otp/scheduled_tasks/" + ids[0], "", own, http.StatusNoContent},
		{
			http.MethodPost,
			"otp/scheduled_tasks:batch_delete",
			`{"task_ids":["` + ids[1] + `","` + ids[2] + `"]}`,
			own,
			http.StatusOK,
		},
	} {
		if got := c.click(press.method, press.path, press.body, press.origin); got != press.want {
			t.Errorf("%s %s from %s: status %d, want %d", press.method, press.path, press.origin, got, press.want)
		}
	}

	want := []string{
		"key shop: use HTTP interface",
		"key shop: cancel " + made,
		"web UI (ops): pause otp",
		"web UI (ops): resume otp",
		"web UI (ops): delete " + ids[0],
		"web UI (ops): delete " + ids[1] + " " + ids[2] + " (2 done, 0 refused)",
	}
	var lines []string
	complete := testwait.Poll(10*time.Second, func() bool {
		lines = nil
		_ = store.EachAction(t.Context(), time.Time{}, func(a record.Action) error {
			line := a.Who + ": " + a.Verb + " " + a.Target
			if a.Result != "" {
				line += " (" + a.Result + ")"
			}
			lines = append(lines, line)
			return nil
		})
		return len(lines) >= len(want)
	})
	slices.Sort(lines)
	slices.Sort(want)
	if !complete || !slices.Equal(lines, want) {
		t.Errorf("the audit has\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
