package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"errand.internal/internal/app"
	"errand.internal/internal/settings"
)

const (
	// childMark in the environment makes the test binary a worker.
	childMark = "FLEET_CHILD"
	longMark  = "FLEET_LONG"
)

var environ = settings.Environ(os.Environ())

// Long reports whether the full-size runs are asked for (FLEET_LONG=1).
func Long() bool {
	return environ[longMark] == "1"
}

// Size is short, or in a long run long.
func Size[T any](short, long T) T {
	if Long() {
		return long
	}
	return short
}

// Main is TestMain of a package that uses New. It does not return.
func Main(m *testing.M) {
	if environ[childMark] == "1" {
		os.Exit(work())
	}
	os.Exit(m.Run())
}

// work is what cmd/worker does.
func work() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := app.Worker{Environ: environ, Stderr: os.Stderr}.Run(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "worker: %v\n", err)
	if _, wrong := errors.AsType[*app.ConfigError](err); wrong {
		return 2
	}
	return 1
}
