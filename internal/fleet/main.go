package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"errand.internal/internal/app"
	"errand.internal/internal/config"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
)

const (
	// childMark in the environment makes the test binary run a worker.
	childMark = "FLEET_CHILD"
	longMark  = "FLEET_LONG"
	// releaseMark names the Release of a worker.
	releaseMark = "FLEET_RELEASE"
)

var environ = settings.Environ(os.Environ())

// Long reports whether FLEET_LONG=1 requests the full-size runs.
func Long() bool {
	return environ[longMark] == "1"
}

// Size returns long in a full-size run, and short otherwise.
func Size[T any](short, long T) T {
	if Long() {
		return long
	}
	return short
}

// Elapse lets d pass. It is for tests in which a duration is the subject, such as
// the length of an outage; whatever has an event is waited for.
func Elapse(tb testing.TB, d time.Duration) {
	tb.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-tb.Context().Done():
		tb.Fatal(context.Cause(tb.Context()))
	}
}

// Release is another release of the worker: other task types, or other payloads.
type Release struct {
	Name string
	// Definitions returns the task types that it knows, given those of this release.
	Definitions func([]worker.Definition) []worker.Definition
}

// Setting is what makes a worker one of the release, for Start.
func (r Release) Setting() string {
	return releaseMark + "=" + r.Name
}

// Main is the TestMain of a package that uses New. It does not return. releases are
// those of which the tests start workers beside this one.
func Main(m *testing.M, releases ...Release) {
	if environ[childMark] != "1" {
		os.Exit(m.Run())
	}
	release := Release{}
	for _, r := range releases {
		if r.Name == environ[releaseMark] {
			release = r
		}
	}
	os.Exit(runWorker(release))
}

// runWorker does what cmd/worker does.
func runWorker(release Release) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := app.Worker{
		Environ: environ,
		Stderr:  os.Stderr,
		Reload:  app.OnHangup(),
		Release: release.Definitions,
	}.Run(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "worker: %v\n", err)
	if _, ok := errors.AsType[*config.Error](err); ok {
		return 2
	}
	return 1
}
