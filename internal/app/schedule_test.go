package app_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/app"
	"errand.internal/internal/config"
)

// schedules are two schedules; the pipe is dckaptest.DemoOrders.
const schedules = `schedules:
  - name: orders
    every: 1s
    type: dckap:dynamic:call
    payload: {idempotent: true}
    forEach: {listener: ["64f1c0de0002"]}
  - name: nightly
    cron: "30 2 * * *"
    timeZone: Europe/Copenhagen
    type: dckap:dynamic:call
    payload: {listener: "64f1c0de0002", idempotent: true}
`

func scheduleFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "schedules.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWorkerRunsSchedules(t *testing.T) {
	t.Parallel()
	path := scheduleFile(t, schedules)
	f := newFixture(t)
	f.Environ["SCHEDULE_FILE"] = path
	w := f.Start(t)
	environ := map[string]string{"REDIS_URL": f.Redis.URL(), "SCHEDULE_FILE": path}
	// The third task may be called before it is counted as enqueued.
	if err := f.dckap.WaitCalls(t.Context(), dckaptest.OpCall, 3); err != nil {
		t.Fatal(err)
	}
	_, metrics := w.Get(t, "/metrics")
	for _, want := range []string{
		`errand_schedule_ticks_total{name="orders",result="enqueued"} [2-9]`,
		`errand_schedule_ticks_total{name="nightly",result="missed"} 0`,
		`errand_schedule_tasks_total{name="orders",result="enqueued"} [2-9]`,
		`errand_schedule_file_ok 1`,
	} {
		if !regexp.MustCompile(want).MatchString(metrics) {
			t.Errorf("/metrics has no %s", want)
		}
	}

	var out bytes.Buffer
	if err := app.ListSchedules(t.Context(), environ, &out); err != nil {
		t.Fatal(err)
	}
	const utc, local = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, `\d{4}-\d\d-\d\dT0[23]:[03]0:00\+0[12]:00`
	want := regexp.MustCompile(`^NAME +TYPE +WHEN +SUBJECTS +NEXT +LAST
orders +dckap:dynamic:call +every 1s +1 +` + utc + ` +` + utc + `
nightly +dckap:dynamic:call +30 2 \* \* \* Europe/Copenhagen +1 +` + local + ` +none
$`)
	if !want.MatchString(out.String()) {
		t.Errorf("the list is\n%s", out.String())
	}

	text, err := app.RunSchedule(t.Context(), environ, "nightly")
	if err != nil || text != "nightly: 1 of 1 tasks enqueued" {
		t.Errorf("run: %s, %v", text, err)
	}
	out.Reset()
	if err := app.NextTicks(environ, 2, "orders", &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(out.String())
	first, err1 := time.Parse(time.RFC3339, lines[0])
	second, err2 := time.Parse(time.RFC3339, lines[1])
	if len(lines) != 2 || err1 != nil || err2 != nil || second.Sub(first) != time.Second {
		t.Errorf("next: %s", out.String())
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

func TestScheduleFaults(t *testing.T) {
	t.Parallel()
	broken := scheduleFile(
		t,
		"schedules:\n  - name: a\n    evry: 1s\n    type: dckap:dynamic:call\n    payload: {listener: 64f1c0de0002}\n",
	)
	valid := scheduleFile(t, schedules)
	run := func(environ map[string]string) error {
		return app.Worker{Environ: environ, Stderr: io.Discard}.Run(t.Context())
	}
	for _, test := range []struct {
		name    string
		environ map[string]string
		do      func(environ map[string]string) error
		want    string
	}{
		{
			"a worker does not start with a broken file",
			map[string]string{"SCHEDULE_FILE": broken},
			run,
			"SCHEDULE_FILE: " + broken + ":3:5: a: evry is unknown; there are name, every, cron, timeZone, type, payload, forEach, spread",
		},
		{
			"a worker does not start without the file",
			map[string]string{"SCHEDULE_FILE": broken + ".not"},
			run,
			"SCHEDULE_FILE: " + broken + ".not: cannot be read: no such file or directory",
		},
		{"the commands need the setting", nil, func(environ map[string]string) error {
			return app.ListSchedules(t.Context(), environ, io.Discard)
		}, "SCHEDULE_FILE: is not set, so nothing runs on a schedule"},
		{
			"the commands need keys where the workers do",
			map[string]string{"SCHEDULE_FILE": valid, "ENCRYPTION_REQUIRED": "true"},
			func(environ map[string]string) error {
				_, err := app.RunSchedule(t.Context(), environ, "nightly")
				return err
			},
			"ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true",
		},
		{"an unknown name", map[string]string{"SCHEDULE_FILE": valid}, func(environ map[string]string) error {
			return app.NextTicks(environ, 1, "night", io.Discard)
		}, `there is no schedule "night"; there are: orders, nightly`},
		{"a number out of range", map[string]string{"SCHEDULE_FILE": valid}, func(environ map[string]string) error {
			return app.NextTicks(environ, 0, "nightly", io.Discard)
		}, "the number of ticks must be from 1 to 10000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.do(test.environ)
			_, setting := errors.AsType[*config.Error](err)
			_, argument := errors.AsType[*app.ArgumentError](err)
			if setting == argument || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// Without Redis the list has everything but the last ticks.
func TestListWithoutRedis(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	environ := map[string]string{"REDIS_URL": "redis://127.0.0.1:1", "SCHEDULE_FILE": scheduleFile(t, schedules)}
	err := app.ListSchedules(t.Context(), environ, &out)
	if err == nil || !strings.Contains(out.String(), "nightly  dckap:dynamic:call") ||
		strings.Count(out.String(), "unknown") != 2 {
		t.Errorf("err = %v, list\n%s", err, out.String())
	}
	if _, err := app.RunSchedule(t.Context(), environ, "nightly"); err == nil {
		t.Error("a tick was run without Redis")
	}
}

// The web UI's page of schedulers shows the schedules that run, with their next and last
// ticks, and the payload masked.
func TestTheWebUIShowsSchedules(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Environ["SCHEDULE_FILE"] = scheduleFile(t, schedules)
	w := f.Start(t)
	if err := f.dckap.WaitCalls(t.Context(), dckaptest.OpCall, 1); err != nil {
		t.Fatal(err)
	}
	status, body := w.Get(t, "/monitoring/api/scheduler_entries")
	for _, want := range []string{
		`"id":"orders"`, `"spec":"every 1s"`, `"options":["tasks a tick: 1"]`, `"prev_enqueue_at":"2`,
		`"id":"nightly"`, `"spec":"30 2 * * * Europe/Copenhagen"`, `"task_type":"dckap:dynamic:call"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %d %s", want, status, body)
		}
	}
	if status, body := w.Get(t, "/monitoring/api/scheduler_entries/orders/enqueue_events"); !strings.Contains(body, `"task_id":"tick of 2`) {
		t.Errorf("the last tick: %d %s", status, body)
	}
	if status, body := w.Get(t, "/monitoring/api/scheduler_entries/nightly/enqueue_events"); strings.TrimSpace(body) != `{"events":[]}` {
		t.Errorf("no tick: %d %s", status, body)
	}
}
