package doctor_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/app"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/redistest"
)

func TestWorkerRefusesARedisThatEvicts(t *testing.T) {
	t.Parallel()
	c := newClinic(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	err := app.Worker{
		Environ: c.environ,
		Stderr:  io.Discard,
		Ready:   func(string) { t.Error("it runs") },
	}.Run(
		t.Context(),
	)
	if _, ok := errors.AsType[*redisguard.EvictionError](err); !ok {
		t.Errorf("err = %v", err)
	}
}

// A worker starts before Redis does. If that Redis then evicts, the worker goes
// on but is not ready, and says why.
func TestWorkerIsNotReadyOnARedisThatEvicts(t *testing.T) {
	t.Parallel()
	c := newClinic(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	c.environ["HTTP_ADDR"] = "127.0.0.1:0"
	c.redis.Stop()
	admin, log := c.work(t)
	s := &site{admin: admin}
	if code, body := s.get(t, "/readyz"); code != http.StatusServiceUnavailable ||
		!strings.Contains(body, "no answer from Redis") {
		t.Errorf("without Redis: %d %s", code, body)
	}
	c.redis.Start()
	const reason = "maxmemory-policy is allkeys-lru and must be noeviction"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := log.wait(ctx, reason); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if code, body := s.get(t, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, reason) ||
		!strings.Contains(body, "redis-cli CONFIG SET") {
		t.Errorf("with Redis: %d %s", code, body)
	}
}
