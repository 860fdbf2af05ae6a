package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/app"
	"errand.internal/internal/schedule"
	"errand.internal/internal/testwait"
)

// Ticks that nobody enqueues are told, with the command that makes up for one.
func TestDoctorTellsOfLateTicks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "schedules.yaml")
	err := os.WriteFile(path, []byte(`schedules:
  - name: often
    every: 1s
    type: dckap:dynamic:call
    payload: {listener: 64f1c0de0001, idempotent: true}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Environ["SCHEDULE_FILE"] = path
	runDoctor(t, f.Environ).want(t, "ok", "schedules", "1, on time")
	w := f.Start(t)
	testwait.Eventually(t, testwait.Limit, "a tick", func() bool {
		tick, err := schedule.LastTick(t.Context(), f.Redis.Client(), "often")
		return err == nil && !tick.Last.IsZero()
	})
	runDoctor(t, f.Environ).want(t, "ok", "schedules", "1, on time")
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	var last report
	if !testwait.Poll(time.Minute, func() bool {
		last = runDoctor(t, f.Environ)
		return last.has("warn", "schedule often", "late: no worker enqueues it")
	}) {
		t.Fatalf("nobody says that ticks are missed:\n%s", last.text)
	}
	last.want(t, "warn", "schedule often", "its tick of ", "start a worker with this SCHEDULE_FILE; "+
		"for what must not be left out: worker schedule run often")
	if text, err := app.RunSchedule(t.Context(), f.Environ, "often"); err != nil || !strings.Contains(text, "1 of 1 tasks enqueued") {
		t.Errorf("run: %q, %v", text, err)
	}
}
