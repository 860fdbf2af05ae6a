package app_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"errand.internal/internal/app"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/redistest"
)

func TestWorkerRefusesARedisThatEvicts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	worker := app.Worker{
		Environ: f.Environ,
		Stderr:  io.Discard,
		Ready:   func(string) { t.Error("it runs") },
	}
	err := worker.Run(t.Context())
	if _, ok := errors.AsType[*redisguard.EvictionError](err); !ok {
		t.Errorf("err = %v", err)
	}
}

// A worker starts before Redis does. If that Redis then evicts, the worker keeps
// running but is not ready, and says why.
func TestWorkerIsNotReadyOnARedisThatEvicts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	f.Redis.Stop()
	w := f.Start(t)
	if status, body := w.Get(t, "/readyz"); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, "no answer from Redis") {
		t.Errorf("without Redis: %d %s", status, body)
	}
	f.Redis.Start()
	const reason = "maxmemory-policy is allkeys-lru and must be noeviction"
	w.Log.Wait(t, reason)
	if status, body := w.Get(t, "/readyz"); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, reason) ||
		!strings.Contains(body, "redis-cli CONFIG SET") {
		t.Errorf("with Redis: %d %s", status, body)
	}
}
