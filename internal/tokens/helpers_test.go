package tokens

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"

	"errand.internal/internal/admission"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/testwait"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role))
	}
	goleak.VerifyTestMain(m)
}

// testRedisTimeout is for tests that are not about a slow Redis: the machine may
// be busy.
const testRedisTimeout = 20 * time.Second

// testClock is real time plus what the test has advanced it by.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *testClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// vendor is a login service that counts its logins.
type vendor struct {
	life   time.Duration
	logins atomic.Int64
	// answer, if set, replaces the default grant of login n.
	answer func(ctx context.Context, n int64) (Grant, error)
}

func (v *vendor) fetch(ctx context.Context) (Grant, error) {
	n := v.logins.Add(1)
	if v.answer != nil {
		return v.answer(ctx, n)
	}
	return v.grant(n), nil
}

func (v *vendor) grant(n int64) Grant {
	return Grant{Value: secret.New(fmt.Sprintf("token-%d", n)), Life: v.life}
}

func (v *vendor) expectLogins(t *testing.T, want int64) {
	t.Helper()
	if got := v.logins.Load(); got != want {
		t.Errorf("the vendor saw %d logins, want %d", got, want)
	}
}

func testProfile(t testing.TB, v *vendor) Profile {
	return Profile{
		Profile: admission.Profile{
			Name: "test",
			Identity: admission.Identity{
				Grant:    "password",
				URL:      "https://vendor.test/token",
				ClientID: "id",
				Extra:    []string{t.Name()},
				Secrets:  []secret.String{secret.New("right")},
			},
			Timeout: 10 * time.Second,
		},
		Fetch: v.fetch,
	}
}

// backend is a Redis deployment that the proofs run against.
type backend struct {
	name  string
	start func(*testing.T) redis.UniversalClient
}

var backends = []backend{
	{"standalone", func(t *testing.T) redis.UniversalClient { return redistest.New(t).Client() }},
	{"cluster", func(t *testing.T) redis.UniversalClient { return redistest.NewCluster(t, 3).Client() }},
}

// proofs run against every backend, in parallel: each has its own credential.
var proofs = []struct {
	name string
	run  func(*testing.T, redis.UniversalClient)
}{
	{"WrongSecretCostsOneLogin", proveWrongSecretCostsOneLogin},
	{"LadderClimbsAndIsClearedBySuccess", proveLadderClimbsAndIsClearedBySuccess},
	{"OutageIsHiddenByAValidToken", proveOutageIsHiddenByAValidToken},
	{"OneLoginPerExpiry", proveOneLoginPerExpiry},
	{"RefreshInTheBackground", proveRefreshInTheBackground},
	{"LateHolderIsFenced", proveLateHolderIsFenced},
	{"OneLoginPerRevocation", proveOneLoginPerRevocation},
	{"FreshTokenIsNotToBlame", proveFreshTokenIsNotToBlame},
	{"OneSuspicionInFiveMinutes", proveOneSuspicionInFiveMinutes},
}

func TestProofs(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			rdb := b.start(t)
			for _, p := range proofs {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					p.run(t, rdb)
				})
			}
		})
	}
}

// newSource makes the source of one process and closes it after the test.
func newSource(t testing.TB, rdb redis.UniversalClient, p Profile, opts ...admission.Option) *Shared {
	t.Helper()
	s := NewSource(rdb, testRing(t, "k1"), p, nil, append([]admission.Option{admission.WithRedisTimeout(testRedisTimeout)}, opts...)...)
	t.Cleanup(s.Close)
	return s
}

// fleet makes n sources of one credential, like n processes.
func fleet(t testing.TB, n int, rdb redis.UniversalClient, p Profile, opts ...admission.Option) []*Shared {
	t.Helper()
	var all []*Shared
	for range n {
		all = append(all, newSource(t, rdb, p, opts...))
	}
	return all
}

// testRing makes a ring with the named keys.
func testRing(t testing.TB, ids ...string) *seal.Ring {
	t.Helper()
	known := map[string]string{
		"k1": "k1:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
		"k2": "k2:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=",
	}
	var entries []string
	for _, id := range ids {
		entries = append(entries, known[id])
	}
	ring, err := seal.Parse(strings.Join(entries, ","))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func mustGet(t testing.TB, s Source) Token {
	t.Helper()
	got, err := s.Get(t.Context())
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return got
}

// concurrently runs f once per source, all at the same time.
func concurrently(all []*Shared, f func(i int, s *Shared)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i, s := range all {
		wg.Go(func() {
			<-start
			f(i, s)
		})
	}
	close(start)
	wg.Wait()
}

// eventually waits until ok reports true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(testwait.Limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func wantBlocked(t testing.TB, err error, refused bool) *admission.Blocked {
	t.Helper()
	b, ok := errors.AsType[*admission.Blocked](err)
	if !ok || b.Refused != refused {
		t.Fatalf("got %#v, want an *admission.Blocked, refused: %t", err, refused)
	}
	if b.RetryAfter <= 0 {
		t.Errorf("RetryAfter = %v, want a positive one", b.RetryAfter)
	}
	return b
}

func wantRefused(t testing.TB, err error, atMost time.Duration) *admission.Blocked {
	t.Helper()
	b := wantBlocked(t, err, true)
	if b.RetryAfter > atMost {
		t.Errorf("RetryAfter = %v, want up to %v", b.RetryAfter, atMost)
	}
	return b
}

func wantUnavailable(t testing.TB, err error) *admission.Blocked {
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

func (c *changes) add(change admission.Change) {
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
