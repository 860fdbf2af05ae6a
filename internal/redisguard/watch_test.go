package redisguard

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

// logged passes every line of a log to the test.
type logged chan string

func (l logged) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

// next waits for a line of that level with that text and skips others.
func (l logged) next(t *testing.T, level, text string) {
	t.Helper()
	limit := time.After(testwait.Limit)
	for {
		select {
		case line := <-l:
			var fields struct{ Level, Message string }
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			if fields.Level == level && strings.Contains(line, text) {
				return
			}
		case <-limit:
			t.Fatalf("no %s line with %q", level, text)
		}
	}
}

func watch(t *testing.T, s *redistest.Server) (*Watch, logged) {
	t.Helper()
	lines := make(logged, 100)
	w, err := start(t.Context(), open(t, s.URL()), zerolog.New(lines), 10*time.Millisecond, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w, lines
}

func TestStartRefusesEviction(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, redistest.Config("maxmemory-policy", "allkeys-random"))
	w, err := Start(t.Context(), open(t, s.URL()), zerolog.Nop())
	if _, ok := errors.AsType[*EvictionError](err); !ok || w != nil {
		t.Errorf("err = %v", err)
	}
}

func TestStartWarnsWithoutPersistence(t *testing.T) {
	t.Parallel()
	w, lines := watch(t, redistest.New(t))
	lines.next(t, "warn", `"fix":"redis-cli CONFIG SET appendonly yes`)
	if w.Err() != nil {
		t.Error(w.Err())
	}
}

// A worker may start before Redis. Err reports eviction as soon as it is known,
// and until it is corrected.
func TestStartBeforeRedis(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, redistest.Config("maxmemory-policy", "allkeys-lru"))
	s.Stop()
	w, lines := watch(t, s)
	lines.next(t, "warn", "connection refused")
	if w.Err() != nil {
		t.Error(w.Err())
	}
	s.Start()
	lines.next(t, "error", "maxmemory-policy is allkeys-lru")
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), "CONFIG SET maxmemory-policy noeviction") {
		t.Errorf("err = %v", err)
	}
	set := func(policy string) {
		if err := s.Client().ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("noeviction")
	lines.next(t, "info", "maxmemory-policy is noeviction")
	if w.Err() != nil {
		t.Error(w.Err())
	}
	set("volatile-lru")
	lines.next(t, "error", "volatile-lru")
	// While Redis is down, the last known policy counts.
	s.Kill()
	lines.next(t, "warn", "redis: ")
	if w.Err() == nil {
		t.Error("the eviction was forgotten while Redis was down")
	}
}
