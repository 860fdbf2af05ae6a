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

	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
)

func testProfile(t testing.TB) Profile {
	return Profile{
		Name: "basic",
		Identity: Identity{
			Grant:    "basic",
			URL:      "https://vendor.test/",
			Username: "u@c",
			Extra:    []string{t.Name()},
			Secrets:  []secret.String{secret.New("right")},
		},
		Timeout: 10 * time.Second,
	}
}

func newBreaker(t testing.TB, rdb redis.UniversalClient, p Profile, opts ...Option) *Breaker {
	t.Helper()
	g := NewBreaker(rdb, p, append([]Option{WithRedisTimeout(testRedisTimeout)}, opts...)...)
	t.Cleanup(g.Close)
	return g
}

func breakers(t testing.TB, n int, rdb redis.UniversalClient, opts ...Option) []*Breaker {
	t.Helper()
	var all []*Breaker
	for range n {
		all = append(all, newBreaker(t, rdb, testProfile(t), opts...))
	}
	return all
}

func mustAcquire(t testing.TB, g Gate) Permit {
	t.Helper()
	p, err := g.Acquire(t.Context())
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return p
}

// crowd has perGate goroutines of every gate use it at the same time.
func crowd(t *testing.T, all []*Breaker, perGate int, use func(g *Breaker)) {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, g := range all {
		for range perGate {
			wg.Go(func() {
				<-start
				use(g)
			})
		}
	}
	close(start)
	wg.Wait()
}

// Proof: a wrong password, 8 processes, 20 calls each: one call.
func proveWrongPasswordCostsOneCall(t *testing.T, clients []redis.UniversalClient) {
	rdb := clients[0]
	all := breakers(t, 8, rdb)
	var calls atomic.Int64
	crowd(t, all, 20, func(g *Breaker) {
		pass, err := g.Acquire(t.Context())
		if err == nil {
			calls.Add(1)
			pass.Done(t.Context(), Result{Verdict: Refused})
			return
		}
		wantRefused(t, err, 30*time.Second)
	})
	if calls.Load() != 1 {
		t.Errorf("%d calls with the wrong password, want 1", calls.Load())
	}
	st, err := all[3].State(t.Context())
	if err != nil || !st.Refused || st.Refusals != 1 || st.Proven {
		t.Errorf("State = %+v, %v", st, err)
	}
}

// A right password goes alone once; then everybody goes at once.
func proveUnprovenGoesAlone(t *testing.T, clients []redis.UniversalClient) {
	rdb := clients[0]
	all := breakers(t, 8, rdb)
	first := mustAcquire(t, all[0])
	var inside atomic.Int64
	var wg sync.WaitGroup
	for _, g := range all {
		for range 5 {
			wg.Go(func() {
				pass, err := g.Acquire(t.Context())
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				inside.Add(1)
				pass.Done(t.Context(), Result{Verdict: Accepted})
			})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := all[1].Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller whose time was up got %v", err)
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("%d calls went before the first was answered", n)
	}
	first.Done(t.Context(), Result{Verdict: Accepted})
	wg.Wait()
	// And a process that comes later need not prove it again.
	if _, alone := mustAcquire(t, newBreaker(t, rdb, testProfile(t))).(*probePermit); alone {
		t.Error("a proven credential went alone")
	}
	if st, err := all[0].State(t.Context()); err != nil || !st.Proven {
		t.Errorf("State = %+v, %v; want it proven", st, err)
	}
}

// An answer that says nothing leaves the proof to the next caller.
func TestNoVerdictPermitesTheTurn(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	all := breakers(t, 2, rdb)
	for i := range 6 {
		pass, alone := mustAcquire(t, all[i%2]).(*probePermit)
		if !alone {
			t.Fatalf("call %d did not go alone", i)
		}
		pass.Done(t.Context(), Result{Verdict: Inconclusive})
		pass.Done(t.Context(), Result{Verdict: Accepted}) // a second report does not count
	}
}

// A caller that never reports stops the others for one lease only.
func TestForgottenPermit(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	all := breakers(t, 2, rdb, WithLease(300*time.Millisecond))
	mustAcquire(t, all[0])
	var entered sync.WaitGroup
	for _, g := range all {
		entered.Go(func() {
			if pass, err := g.Acquire(t.Context()); err != nil {
				t.Errorf("Acquire: %v", err)
			} else {
				pass.Done(t.Context(), Result{Verdict: Accepted})
			}
		})
	}
	entered.Wait()
}

func TestWaitForTheProofHasAnEnd(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	holder := newBreaker(t, rdb, testProfile(t), WithLease(time.Minute))
	waiter := newBreaker(t, rdb, testProfile(t), WithLease(100*time.Millisecond))
	pass := mustAcquire(t, holder)
	_, err := waiter.Acquire(t.Context())
	wantUnavailable(t, err)
	pass.Done(t.Context(), Result{Verdict: Accepted})
	mustAcquire(t, waiter)
}

// The password is changed while 50 calls are under way: one refusal is
// recorded, not 50, and the other processes hear of it at their next look.
func TestRefusedAfterProven(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	clock := &testClock{}
	var told changes
	all := breakers(t, 2, rdb, WithNow(clock.now), WithOnChange(told.add))
	mustAcquire(t, all[0]).Done(t.Context(), Result{Verdict: Accepted})
	mustAcquire(t, all[1]).Done(t.Context(), Result{Verdict: Accepted})
	var under []Permit
	for range 50 {
		under = append(under, mustAcquire(t, all[0]))
	}
	var wg sync.WaitGroup
	for i, pass := range under {
		wg.Go(func() {
			if i%10 == 9 {
				pass.Done(t.Context(), Result{Verdict: Accepted}) // answered before the change
				return
			}
			pass.Done(t.Context(), Result{Verdict: Refused})
		})
	}
	wg.Wait()
	_, err := all[0].Acquire(t.Context())
	wantRefused(t, err, 30*time.Second)
	st, err := all[0].State(t.Context())
	if err != nil || st.Refusals != 1 || st.Proven {
		t.Errorf("State = %+v, %v; want one refusal", st, err)
	}
	mustAcquire(t, all[1]) // has not looked yet
	clock.advance(recheckProof)
	_, err = all[1].Acquire(t.Context())
	wantRefused(t, err, 30*time.Second)
	told.expect(t, "basic parked", "basic parked")

	// The account is mended: one call alone, then all.
	if err := all[0].ClearCoolDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass, alone := mustAcquire(t, all[0]).(*probePermit)
	if !alone {
		t.Fatal("a credential that was refused did not go alone")
	}
	pass.Done(t.Context(), Result{Verdict: Accepted})
	clock.advance(2 * time.Second)
	if _, alone := mustAcquire(t, all[1]).(*probePermit); alone {
		t.Error("the other process proves it again")
	}
	told.expect(t, "basic parked", "basic parked", "basic resumed", "basic resumed")
}

// Calls of two processes are refused together: one refusal, not two.
func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	all := breakers(t, 8, rdb)
	var under []Permit
	for _, g := range all {
		mustAcquire(t, g).Done(t.Context(), Result{Verdict: Accepted})
		under = append(under, mustAcquire(t, g))
	}
	for range 20 {
		under = append(under, mustAcquire(t, all[0]))
	}
	hook := &counting{}
	rdb.AddHook(hook)
	for _, pass := range under {
		pass.Done(t.Context(), Result{Verdict: Refused})
	}
	if n := hook.commands.Load(); n > 2*int64(len(all)) { // EVALSHA, and EVAL the first time
		t.Errorf("28 refusals in 8 processes were told to Redis with %d commands", n)
	}
	if st, err := all[0].State(t.Context()); err != nil || st.Refusals != 1 || st.CoolingFor > 30*time.Second {
		t.Errorf("State = %+v, %v; want one refusal", st, err)
	}
}

// Redis was emptied: a credential in good standing stays so.
func TestProofSurvivesEmptiedRedis(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	clock := &testClock{}
	g := newBreaker(t, rdb, testProfile(t), WithNow(clock.now))
	mustAcquire(t, g).Done(t.Context(), Result{Verdict: Accepted})
	mustAcquire(t, g).Done(t.Context(), Result{Verdict: Accepted})
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	clock.advance(recheckProof)
	if _, alone := mustAcquire(t, g).(*probePermit); alone {
		t.Error("a credential in good standing must prove itself again")
	}
}

// But an old acceptance does not outweigh a refusal on record.
func TestOldAcceptanceDoesNotOutweighARefusal(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	clock := &testClock{}
	all := breakers(t, 2, rdb, WithNow(clock.now), WithCoolDowns(time.Millisecond))
	mustAcquire(t, all[0]).Done(t.Context(), Result{Verdict: Accepted})
	pass := mustAcquire(t, all[1])
	mustAcquire(t, all[0]).Done(t.Context(), Result{Verdict: Accepted})
	pass.Done(t.Context(), Result{Verdict: Refused})
	clock.advance(recheckProof)
	eventually(t, "the rest to end", func() bool {
		st, err := all[0].State(t.Context())
		return err == nil && st.CoolingFor == 0
	})
	if _, alone := mustAcquire(t, all[0]).(*probePermit); !alone {
		t.Error("a refused credential went on as if proven")
	}
}

// While Redis is slow the fleet tries a wrong password once.
func TestASlowRedisCostsOneProbe(t *testing.T) {
	t.Parallel()
	for _, slowWhen := range []string{"asking", "writing"} {
		t.Run(slowWhen, func(t *testing.T) {
			t.Parallel()
			srv := redistest.New(t)
			all := breakers(t, 8, srv.Client())
			for _, b := range all {
				if _, err := b.Keys(); err != nil {
					t.Fatal(err)
				}
				b.SetRedisTimeout(250 * time.Millisecond) // the default, now that the start is over
			}
			if slowWhen == "asking" {
				srv.PauseFor(700 * time.Millisecond)
			}
			var calls atomic.Int64
			crowd(t, all, 3, func(b *Breaker) {
				permit, err := b.Acquire(t.Context())
				if err != nil {
					wantRefused(t, err, 30*time.Second)
					return
				}
				calls.Add(1)
				if slowWhen == "writing" {
					srv.PauseFor(1500 * time.Millisecond)
				}
				permit.Done(t.Context(), Result{Verdict: Refused})
			})
			if calls.Load() != 1 {
				t.Errorf("%d calls with the wrong password, want 1", calls.Load())
			}
		})
	}
}

func TestGateWithoutRedis(t *testing.T) {
	t.Parallel()
	t.Run("proven", func(t *testing.T) {
		t.Parallel()
		srv := redistest.New(t)
		clock := &testClock{}
		g := newBreaker(t, quickClient(t, srv.Addr()), testProfile(t), WithNow(clock.now))
		mustAcquire(t, g).Done(t.Context(), Result{Verdict: Accepted})
		srv.Stop()
		for range 5 {
			clock.advance(recheckProof)
			if _, alone := mustAcquire(t, g).(*probePermit); alone {
				t.Error("a proven credential went alone")
			}
		}
		mustAcquire(t, g).Done(t.Context(), Result{Verdict: Refused})
		_, err := g.Acquire(t.Context())
		wantRefused(t, err, 30*time.Second)
	})
	t.Run("unproven", func(t *testing.T) {
		t.Parallel()
		g := newBreaker(t, closedClient(t), testProfile(t))
		var calls atomic.Int64
		crowd(t, []*Breaker{g}, 20, func(g *Breaker) {
			pass, err := g.Acquire(t.Context())
			if err == nil {
				calls.Add(1)
				pass.Done(t.Context(), Result{Verdict: Refused})
				return
			}
			wantRefused(t, err, 30*time.Second)
		})
		if calls.Load() != 1 {
			t.Errorf("%d calls with the wrong password, want 1", calls.Load())
		}
	})
	t.Run("unproven and right", func(t *testing.T) {
		t.Parallel()
		srv := redistest.New(t)
		clock := &testClock{}
		g := newBreaker(t, quickClient(t, srv.Addr()), testProfile(t), WithNow(clock.now))
		srv.Stop()
		mustAcquire(t, g).Done(t.Context(), Result{Verdict: Accepted})
		mustAcquire(t, g)
		srv.Start()
		eventually(t, "Redis to answer", func() bool { _, err := g.State(t.Context()); return err == nil })
		clock.advance(recheckProof)
		mustAcquire(t, g)
		if st, err := g.State(t.Context()); err != nil || !st.Proven {
			t.Errorf("State = %+v, %v; want the fleet to know it is proven", st, err)
		}
	})
}

func TestCloseEndsTheWait(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	g := newBreaker(t, rdb, testProfile(t))
	pass := mustAcquire(t, g)
	waiting := make(chan error, 1)
	go func() {
		_, err := g.Acquire(context.Background())
		waiting <- err
	}()
	g.Close()
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("the waiting caller got %v", err)
	}
	pass.Done(t.Context(), Result{Verdict: Accepted})
}

func TestAlwaysAdmits(t *testing.T) {
	t.Parallel()
	mustAcquire(t, Always()).Done(t.Context(), Result{Verdict: Refused})
	mustAcquire(t, Always())
}

// The cool-down of an outage grows from 1 s to 30 s.
func TestOutageBackOffGrows(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	b := newBreaker(t, rdb, testProfile(t))
	keys, err := b.Keys()
	if err != nil {
		t.Fatal(err)
	}
	for n, seconds := range []int{2, 4, 8, 16, 30, 30} {
		most := time.Duration(seconds) * time.Second
		args := b.coolDownArgs("", false, Failure{})
		args[4] = "0.999999"
		r, err := b.RunDirect(testRedisTimeout, coolDownScript, keys.own, args...)
		if err != nil {
			t.Fatal(err)
		}
		if left := r.Millis(1); left > most || left < most-10*time.Millisecond {
			t.Errorf("failure %d: cool-down of %v, want just below %v", n+1, left, most)
		}
		// End the cool-down.
		if err := rdb.HSet(t.Context(), keys.own[1], "until", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	got := storable("line\nbreak\x00 é " + strings.Repeat("x", 500))
	if strings.ContainsAny(got, "\n\x00é") || len(got) != maxReason {
		t.Errorf("printable kept %q", got)
	}
}

// Every part of the identity counts, and no two identities share a fingerprint.
func TestFingerprintsDiffer(t *testing.T) {
	t.Parallel()
	secrets := func(values ...string) (all []secret.String) {
		for _, v := range values {
			all = append(all, secret.New(v))
		}
		return all
	}
	profiles := []Profile{
		{Name: "a"},
		{Name: "b"},
		{Name: "a", Identity: Identity{Grant: "x"}},
		{Name: "a", Identity: Identity{URL: "x"}},
		{Name: "a", Identity: Identity{ClientID: "x"}},
		{Name: "a", Identity: Identity{Username: "x"}},
		{Name: "a", Identity: Identity{Scope: "x"}},
		{Name: "a", Identity: Identity{Audience: "x"}},
		{Name: "a", Identity: Identity{Extra: []string{"x"}}},
		{Name: "a", Identity: Identity{Extra: []string{"x", "y"}}},
		{Name: "a", Identity: Identity{Extra: []string{"x"}, Secrets: secrets("y")}},
		{Name: "a", Identity: Identity{Secrets: secrets("x")}},
		{Name: "a", Identity: Identity{Secrets: secrets("x", "")}},
		{Name: "a", Identity: Identity{Secrets: secrets("", "x")}},
	}
	seen := map[string]int{}
	for i, p := range profiles {
		fp := p.fingerprint([]byte("salt"))
		if j, ok := seen[fp]; ok {
			t.Errorf("profiles %d and %d have the same fingerprint", i, j)
		}
		seen[fp] = i
	}
	if a, b := profiles[0].fingerprint([]byte("salt")), profiles[0].fingerprint([]byte("pepper")); a == b ||
		len(a) != 32 {
		t.Errorf("fingerprints %q and %q do not depend on the salt", a, b)
	}
	slow := Profile{Name: "a", Timeout: time.Minute}
	if profiles[0].fingerprint([]byte("salt")) != slow.fingerprint([]byte("salt")) {
		t.Error("the fingerprint depends on more than the identity")
	}
	keys := Profile{Name: "we{ird}"}.keys([]byte("salt")).With("t")
	for _, k := range keys {
		if strings.Count(k, "{") != 1 || strings.Count(k, "}") != 1 {
			t.Errorf("key %q: the name breaks the hash tag", k)
		}
	}
}

func BenchmarkClosedBreaker(b *testing.B) {
	breaker := newBreaker(b, redistest.New(b).Client(), testProfile(b))
	mustAcquire(b, breaker).Done(b.Context(), Result{Verdict: Accepted})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		p, err := breaker.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		p.Done(ctx, Result{Verdict: Accepted})
	}
}

// A closed breaker neither allocates nor asks Redis.
func TestAClosedBreakerIsFree(t *testing.T) {
	// Not parallel: AllocsPerRun counts the allocations of all goroutines.
	rdb := redistest.New(t).Client()
	hook := &counting{}
	rdb.AddHook(hook)
	b := newBreaker(t, rdb, testProfile(t))
	mustAcquire(t, b).Done(t.Context(), Result{Verdict: Accepted})
	ctx := t.Context()
	asked := hook.commands.Load()
	if n := testing.AllocsPerRun(1000, func() {
		p, _ := b.Acquire(ctx)
		p.Done(ctx, Result{Verdict: Accepted})
	}); n != 0 {
		t.Errorf("a closed breaker allocates %v times", n)
	}
	if n := hook.commands.Load() - asked; n != 0 {
		t.Errorf("it asked Redis %d times", n)
	}
}
