package admission

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// testRedisTimeout is for tests that are not about a slow Redis: the machine may
// be busy.
const testRedisTimeout = 20 * time.Second

// testClock is real time plus what the test has advanced it by.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *testClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// eventually waits until ok reports true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func wantBlocked(t testing.TB, err error, refused bool) *Blocked {
	t.Helper()
	b, ok := errors.AsType[*Blocked](err)
	if !ok || b.Refused != refused {
		t.Fatalf("got %#v, want an *Blocked, refused: %t", err, refused)
	}
	if b.RetryAfter <= 0 {
		t.Errorf("RetryAfter = %v, want a positive one", b.RetryAfter)
	}
	return b
}

func wantRefused(t testing.TB, err error, atMost time.Duration) *Blocked {
	t.Helper()
	b := wantBlocked(t, err, true)
	if b.RetryAfter > atMost {
		t.Errorf("RetryAfter = %v, want up to %v", b.RetryAfter, atMost)
	}
	return b
}

func wantUnavailable(t testing.TB, err error) *Blocked {
	t.Helper()
	return wantBlocked(t, err, false)
}

// counting counts the commands a client sends.
type counting struct{ commands atomic.Int64 }

func (c *counting) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// changes records changes of state.
type changes struct {
	mu   sync.Mutex
	list []string
}

func (c *changes) add(change Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, change.Profile+" "+change.Kind.String())
}

func (c *changes) expect(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Join(c.list, ",") != strings.Join(want, ",") {
		t.Errorf("announced %q, want %q", c.list, want)
	}
}

// quickClient makes a client that does not retry.
func quickClient(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:                     addr,
		MaxRetries:               -1,
		DialerRetries:            1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// closedClient makes a client whose server does not exist.
func closedClient(t testing.TB) redis.UniversalClient { return quickClient(t, "127.0.0.1:1") }
