package admission

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// general is the client that limits have in production.
func general(t *testing.T, server *redistest.Server) redis.UniversalClient {
	t.Helper()
	target, err := redisconn.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := target.Open(redisconn.General)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// replicaOf makes a server a replica, which takes no writes, or a master again.
func replicaOf(host, port string) func(*redistest.Server) {
	return func(s *redistest.Server) {
		_ = s.Client().Do(context.Background(), "REPLICAOF", host, port).Err()
	}
}

// Without Redis, and while it takes no writes, a call goes out and nobody hangs; a recipient
// is not written to.
func TestRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		leave, back func(*redistest.Server)
		says        bool // that the breaker is open
	}{
		{"frozen", (*redistest.Server).Pause, (*redistest.Server).Resume, false},
		{"stopped", (*redistest.Server).Stop, (*redistest.Server).Start, false},
		{"read-only", replicaOf("127.0.0.1", "1"), replicaOf("NO", "ONE"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.New(t)
			rdb := general(t, server)
			registry := prometheus.NewRegistry()
			limits := account(t, settings.Rate{N: 1, Per: time.Hour}, 1)
			l := NewLimiter(rdb, seal.NewSalt(rdb), limits, WithMetrics(NewMetrics(registry)))
			breaker := NewOutage(rdb, seal.NewSalt(rdb), limits, tripShare)
			if breaker.Conclude(t.Context(), "", true) == nil {
				t.Fatal("a refusal does not open the breaker")
			}
			guard := NewGuard(rdb, seal.NewSalt(rdb), "otp", "recipient", settings.Rate{N: 1, Per: time.Hour})
			pass, err := l.Acquire(t.Context(), Request{})
			if err != nil {
				t.Fatal(err)
			}
			tt.leave(server)
			began := time.Now()
			again, err := l.Acquire(t.Context(), Request{})
			if err != nil {
				t.Fatalf("without Redis: %v", err)
			}
			breaker.known.Store(&outageKnown{state: "open"}) // it is a second later
			passes := []Permit{pass, again}
			probe, err := breaker.Acquire(t.Context(), Request{})
			if (err != nil) != tt.says {
				t.Errorf("an open breaker: %v", err)
			} else if err == nil {
				passes = append(passes, probe)
			}
			for _, p := range passes {
				p.Done(t.Context(), Result{Verdict: Exhausted, RetryAfter: time.Minute})
			}
			if took := time.Since(began); took > 7*askTimeout+4*time.Second {
				t.Errorf("seven questions took %s", took)
			}
			err = guard.Take(t.Context(), "otp-1", []string{"ana"})
			if _, full := errors.AsType[*Blocked](err); err == nil || full {
				t.Errorf("the guard says %v", err)
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := l.Acquire(cancelled, Request{}); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			tt.back(server)
			want := "# HELP errand_limit_unasked_total Calls let go without asking, because Redis did not answer.\n# TYPE errand_limit_unasked_total counter\nerrand_limit_unasked_total{account=\"shop\"} 1\n"
			if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "errand_limit_unasked_total"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without a clock of the test's it is Redis' own that counts.
func TestRedisClock(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	salt := seal.NewSalt(rdb)
	l := NewLimiter(rdb, salt, account(t, settings.Rate{N: 2, Per: time.Hour}, 0))
	if _, err := l.Acquire(t.Context(), Request{Task: "dinero-1"}); err != nil {
		t.Fatal(err)
	}
	_, err := l.Acquire(t.Context(), Request{Task: "dinero-2", Deadline: time.Hour})
	waits, ok := errors.AsType[*Blocked](err)
	if !ok || waits.RetryAfter > 30*time.Minute || waits.RetryAfter < 29*time.Minute {
		t.Errorf("%v", err)
	}
	quick := NewLimiter(rdb, salt, account(t, settings.Rate{N: 20, Per: time.Second}, 1))
	for range 4 {
		pass, err := quick.Acquire(t.Context(), Request{MaxWait: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		pass.Done(t.Context(), Result{})
	}
	guard := NewGuard(rdb, salt, "otp", "recipient", settings.Rate{N: 1, Per: time.Hour})
	if err := guard.Take(t.Context(), "otp-1", []string{"ana"}); err != nil {
		t.Error(err)
	}
	full, ok := errors.AsType[*Blocked](guard.Take(t.Context(), "otp-2", []string{"ana"}))
	if !ok || full.RetryAfter > time.Hour || full.RetryAfter < 59*time.Minute {
		t.Errorf("%+v", full)
	}
}

// A caller whose own time ends while it waits for its turn leaves no permit
// behind.
func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	l := NewLimiter(rdb, seal.NewSalt(rdb), account(t, settings.Rate{}, 1))
	pass, err := l.Acquire(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Acquire(ctx, Request{MaxWait: time.Minute}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	pass.Done(t.Context(), Result{})
	if state, err := l.State(t.Context()); err != nil || state != (LimitState{}) {
		t.Errorf("%+v, %v", state, err)
	}
}

// Nothing in Redis tells who is meant, and all of it ends by itself.
func TestKeysRevealNothing(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	salt := seal.NewSalt(rdb)
	a := account(t, settings.Rate{N: 1, Per: time.Second}, 1)
	a.Name, a.Identity = "{shop}", []string{"https://shop.example", "canary-user"}
	l := NewLimiter(rdb, salt, a)
	for range 2 {
		_, _ = l.Acquire(t.Context(), Request{Task: "dinero-1", Deadline: time.Hour})
	}
	_ = NewGuard(rdb, salt, "otp", "recipient", settings.Rate{N: 1, Per: time.Second}).Take(t.Context(), "otp-1", []string{"canary@example.com"})
	keys, err := rdb.Keys(t.Context(), "limit:*").Result()
	if err != nil || len(keys) != 5 {
		t.Errorf("%q, %v", keys, err)
	}
	for _, k := range keys {
		if ttl := rdb.PTTL(t.Context(), k).Val(); strings.Contains(k, "canary") || strings.Contains(k, "example") || ttl <= 0 || ttl > 2*time.Hour {
			t.Errorf("%s lives for %s", k, ttl)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, says string
		limits     Limits
		limited    bool
		pause      time.Duration
	}{
		{"nothing", "", Limits{}, false, time.Second},
		{"rate", "95/1m", Limits{Rate: perMinute(95)}, true, time.Minute},
		{"at once", "4 at once", Limits{Concurrency: 4}, true, time.Second},
		{"both", "5/1s, 4 at once", Limits{Rate: settings.Rate{N: 5, Per: time.Second}, Concurrency: 4}, true, time.Second},
		{"by the hour", "9/1h", Limits{Rate: settings.Rate{N: 9, Per: time.Hour}}, true, time.Minute},
		{"the vendor's rest", "9/1h", Limits{Rate: settings.Rate{N: 9, Per: time.Hour}, QuotaPause: 2 * time.Minute}, true, 2 * time.Minute},
	} {
		if a := tt.limits; a.String() != tt.says || a.IsZero() == tt.limited || a.quotaPause() != tt.pause {
			t.Errorf("%s: %q, %v, %s", tt.name, a, !a.IsZero(), a.quotaPause())
		}
	}
}

func TestLimitState(t *testing.T) {
	t.Parallel()
	for want, state := range map[string]LimitState{
		"":            {},
		"3 waiting":   {Waiting: 3},
		"2 under way": {Underway: 2},
		"used up by the vendor's word, goes on in 40s; 3 waiting": {PausedFor: 40 * time.Second, Waiting: 3},
		"used up by the vendor's word, goes on in 1s":             {PausedFor: time.Millisecond},
	} {
		if state.String() != want {
			t.Errorf("%q, want %q", state, want)
		}
	}
}
