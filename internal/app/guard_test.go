package app_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
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

// Readiness means that tasks can be stored: a Redis that answers PING and is full, or
// forbids writing, is not enough. With the permissions that the guides name a task runs.
func TestWorkerIsNotReadyOnARedisThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := func(args ...any) {
		t.Helper()
		if err := f.Redis.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("ACL", "SETUSER", "worker", "on", ">pw", "+@all", "~errand:*", "~asynq:*", "~tok:*", "~limit:*", "&errand:*", "&asynq:*")
	f.Environ["REDIS_URL"] = "redis://worker:pw@" + f.Redis.Addr()
	w := f.Start(t)
	want := func(status int, text string) {
		t.Helper()
		if got, body := w.Get(t, "/readyz"); got != status || !strings.Contains(body, text) {
			t.Errorf("%d %s, want %d and %q", got, body, status, text)
		}
	}
	want(http.StatusOK, "true")
	ticket, err := tasks.Enqueue(t.Context(), f.Client(t), danaconnect.OTPVerify{IDRequest: "1", OTP: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ticket.Wait(t.Context()); err == nil || redisconn.NotNow(err) {
		t.Errorf("a task under these permissions: %v, want an outcome", err)
	}
	if _, err := apptest.Run(t, w, listContacts); err != nil {
		t.Errorf("a task that needs a login: %v", err)
	}
	if keys := f.Redis.Client().Keys(t.Context(), "tok:*").Val(); len(keys) == 0 {
		t.Error("under these permissions the workers share no token")
	}
	set("CONFIG", "SET", "maxmemory", "1")
	want(http.StatusServiceUnavailable, "raise maxmemory")
	set("CONFIG", "SET", "maxmemory", "0")
	want(http.StatusOK, "true")
	set("ACL", "SETUSER", "worker", "-@scripting")
	want(http.StatusServiceUnavailable, "ACL SETUSER worker +@all")
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
