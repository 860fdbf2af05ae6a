package admission

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

func TestMain(m *testing.M) {
	redisconn.LogTo(zerolog.Nop()) // that Redis is away is what some tests are about
	os.Exit(m.Run())
}

// patience is what a caller of production has.
const patience = 2 * time.Second

func perMinute(n int) settings.Rate { return settings.Rate{N: n, Per: time.Minute} }

// account is one of the test's own.
func account(t testing.TB, rate settings.Rate, atOnce settings.Count) Limits {
	return Limits{Name: "shop", Identity: []string{t.Name()}, Rate: rate, Concurrency: atOnce, CallTimeout: 15 * time.Second}
}

// fleet are the limiters of several processes.
type fleet struct {
	*world
	t        *testing.T
	limiters []*Limiter
	// coarse: tasks come back on the next full second, as asynq has it.
	coarse bool

	mu      sync.Mutex
	went    []time.Time
	asked   map[string]int
	done    []string
	running int
	most    int
}

func newFleet(t *testing.T, clients []redis.UniversalClient, a Limits) *fleet {
	t.Helper()
	f := &fleet{t: t, world: newWorld(), asked: map[string]int{}}
	for _, c := range clients {
		f.limiters = append(f.limiters, NewLimiter(c, seal.NewSalt(c), a, WithClock(f.world)))
	}
	return f
}

// task runs one task: it asks, comes back when it is told to, and makes its
// calls. It reports how often it was parked after its first call.
func (f *fleet) task(name string, calls int, call time.Duration) (thrownBack int) {
	for {
		again, made := f.try(name, calls, call)
		if again == 0 {
			return thrownBack
		}
		if made > 0 {
			thrownBack++
		}
		if f.coarse {
			back := f.Now().Add(again).Truncate(time.Second).Add(time.Second)
			again = back.Sub(f.Now())
		}
		_ = f.Sleep(context.Background(), again)
	}
}

// try is one attempt: it ends with the last call, or when it has to wait.
func (f *fleet) try(name string, calls int, call time.Duration) (again time.Duration, made int) {
	for made = range calls {
		ask := Request{Task: name, MaxWait: patience, Deadline: 24 * time.Hour}
		if made > 0 {
			ask.Underway, ask.MaxWait = true, 2*patience
		}
		f.mu.Lock()
		f.asked[name]++
		l := f.limiters[len(f.asked)%len(f.limiters)]
		f.mu.Unlock()
		pass, err := l.Acquire(context.Background(), ask)
		if waits, ok := errors.AsType[*Blocked](err); ok {
			return waits.RetryAfter, made
		}
		if err != nil {
			f.t.Error(err)
			return 0, made
		}
		f.begin()
		_ = f.Sleep(context.Background(), call)
		f.end(pass)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, name)
	return 0, calls
}

func (f *fleet) begin() {
	now := f.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.went = append(f.went, now)
	f.running++
	f.most = max(f.most, f.running)
}

func (f *fleet) end(p Permit) {
	f.mu.Lock()
	f.running--
	f.mu.Unlock()
	p.Done(context.Background(), Result{})
}

// wantRate checks every window: none may hold more than the rate allows, be it
// open or closed.
func (f *fleet) wantRate(r settings.Rate) {
	f.t.Helper()
	slices.SortFunc(f.went, time.Time.Compare)
	for i := r.N; i < len(f.went); i++ {
		if within := f.went[i].Sub(f.went[i-r.N]); within <= r.Per {
			f.t.Fatalf("%d calls within %s, the rate is %s", r.N+1, within, r)
		}
	}
}

// took is from the first call to the last.
func (f *fleet) took() time.Duration { return f.went[len(f.went)-1].Sub(f.went[0]) }

// overtaken is by how many of those who came later the unluckiest task was
// overtaken.
func (f *fleet) overtaken(names []string) int {
	at := map[string]int{}
	for i, name := range f.done {
		at[name] = i
	}
	worst := 0
	for i, name := range names {
		n := 0
		for _, later := range names[i+1:] {
			if at[later] < at[name] {
				n++
			}
		}
		worst = max(worst, n)
	}
	return worst
}

func (f *fleet) asks() (all, most int) {
	for _, n := range f.asked {
		all += n
		most = max(most, n)
	}
	return all, most
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("dinero-%03d", i)
	}
	return list
}

// backend is where the proofs run: one Redis or a cluster, by several clients.
type backend struct {
	name  string
	start func(*testing.T) []redis.UniversalClient
}

var backends = []backend{
	{"standalone", func(t *testing.T) []redis.UniversalClient {
		server := redistest.New(t)
		clients := []redis.UniversalClient{server.Client()}
		for range 3 {
			c := redis.NewClient(&redis.Options{Addr: server.Addr()})
			t.Cleanup(func() { _ = c.Close() })
			clients = append(clients, c)
		}
		return clients
	}},
	{"cluster", func(t *testing.T) []redis.UniversalClient {
		cluster := redistest.NewCluster(t, 3)
		other := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
		t.Cleanup(func() { _ = other.Close() })
		return []redis.UniversalClient{cluster.Client(), other}
	}},
}

func TestProofs(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			clients := b.start(t)
			for _, p := range proofs {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					p.run(t, clients)
				})
			}
		})
	}
}

// proofs run against every backend, side by side: each has its own account.
var proofs = []struct {
	name string
	run  func(*testing.T, []redis.UniversalClient)
}{
	{"NoWindowHoldsMoreThanTheRate", proveRate},
	{"WhoWaitsAsksOnce", proveLine},
	{"NeverMoreAtOnce", proveAtOnce},
	{"RateAndAtOnceTogether", proveBoth},
	{"KilledHolder", proveKilledHolder},
	{"FurtherCallsGoFirst", proveUnderway},
	{"ClosedByTheVendor", proveClosed},
	{"PlacesOfTasksThatDoNotCome", proveAbsent},
	{"WhoIsLateKeepsItsTurn", proveLate},
	{"WhoWaitsWhere", proveMaxWait},
	{"OtherSettings", proveSettings},
	{"RepliesThatAreLost", proveLostReplies},
	{"Recipients", proveGuard},
	{"WrongPasswordCostsOneCall", proveWrongPasswordCostsOneCall},
	{"UnprovenGoesAlone", proveUnprovenGoesAlone},
}
