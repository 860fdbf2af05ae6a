package tokens

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
)

func gateProfile(t testing.TB) Profile {
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

func newGate(t testing.TB, rdb redis.UniversalClient, p Profile, opts ...Option) *SharedGate {
	t.Helper()
	g := NewGate(rdb, p, append([]Option{WithRedisTimeout(testRedisTimeout)}, opts...)...)
	t.Cleanup(g.Close)
	return g
}

func gates(t testing.TB, n int, rdb redis.UniversalClient, opts ...Option) []*SharedGate {
	t.Helper()
	var all []*SharedGate
	for range n {
		all = append(all, newGate(t, rdb, gateProfile(t), opts...))
	}
	return all
}

func mustEnter(t testing.TB, g Gate) Pass {
	t.Helper()
	p, err := g.Enter(t.Context())
	if err != nil {
		t.Fatalf("Enter: %v", err)
	}
	return p
}

// crowd has perGate goroutines of every gate use it at the same time.
func crowd(t *testing.T, all []*SharedGate, perGate int, use func(g *SharedGate)) {
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
func proveWrongPasswordCostsOneCall(t *testing.T, rdb redis.UniversalClient) {
	all := gates(t, 8, rdb)
	var calls atomic.Int64
	crowd(t, all, 20, func(g *SharedGate) {
		pass, err := g.Enter(t.Context())
		if err == nil {
			calls.Add(1)
			pass.Report(t.Context(), Refused)
			return
		}
		wantCooling(t, err, 30*time.Second)
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
func proveUnprovenGoesAlone(t *testing.T, rdb redis.UniversalClient) {
	all := gates(t, 8, rdb)
	first := mustEnter(t, all[0])
	var inside atomic.Int64
	var wg sync.WaitGroup
	for _, g := range all {
		for range 5 {
			wg.Go(func() {
				pass, err := g.Enter(t.Context())
				if err != nil {
					t.Errorf("Enter: %v", err)
					return
				}
				inside.Add(1)
				pass.Report(t.Context(), Accepted)
			})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := all[1].Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller whose time was up got %v", err)
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("%d calls went before the first was answered", n)
	}
	first.Report(t.Context(), Accepted)
	wg.Wait()
	// And a process that comes later need not prove it again.
	if _, alone := mustEnter(t, newGate(t, rdb, gateProfile(t))).(*lonePass); alone {
		t.Error("a proven credential went alone")
	}
	if st, err := all[0].State(t.Context()); err != nil || !st.Proven {
		t.Errorf("State = %+v, %v; want it proven", st, err)
	}
}

// An answer that says nothing leaves the proof to the next caller.
func TestNoVerdictPassesTheTurn(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	all := gates(t, 2, rdb)
	for i := range 6 {
		pass, alone := mustEnter(t, all[i%2]).(*lonePass)
		if !alone {
			t.Fatalf("call %d did not go alone", i)
		}
		pass.Report(t.Context(), Inconclusive)
		pass.Report(t.Context(), Accepted) // a second report does not count
	}
}

// A caller that never reports stops the others for one lease only.
func TestForgottenPass(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	all := gates(t, 2, rdb, withLease(300*time.Millisecond))
	mustEnter(t, all[0])
	var entered sync.WaitGroup
	for _, g := range all {
		entered.Go(func() {
			if pass, err := g.Enter(t.Context()); err != nil {
				t.Errorf("Enter: %v", err)
			} else {
				pass.Report(t.Context(), Accepted)
			}
		})
	}
	entered.Wait()
}

func TestWaitForTheProofHasAnEnd(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	holder := newGate(t, rdb, gateProfile(t), withLease(time.Minute))
	waiter := newGate(t, rdb, gateProfile(t), withLease(100*time.Millisecond))
	pass := mustEnter(t, holder)
	_, err := waiter.Enter(t.Context())
	wantUnavailable(t, err)
	pass.Report(t.Context(), Accepted)
	mustEnter(t, waiter)
}

// The password is changed while 50 calls are under way: one refusal is
// recorded, not 50, and the other processes hear of it at their next look.
func TestRefusedAfterProven(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	clock := &testClock{}
	var told changes
	all := gates(t, 2, rdb, WithClock(clock.now), WithOnChange(told.add))
	mustEnter(t, all[0]).Report(t.Context(), Accepted)
	mustEnter(t, all[1]).Report(t.Context(), Accepted)
	var under []Pass
	for range 50 {
		under = append(under, mustEnter(t, all[0]))
	}
	var wg sync.WaitGroup
	for i, pass := range under {
		wg.Go(func() {
			if i%10 == 9 {
				pass.Report(t.Context(), Accepted) // answered before the change
				return
			}
			pass.Report(t.Context(), Refused)
		})
	}
	wg.Wait()
	_, err := all[0].Enter(t.Context())
	wantCooling(t, err, 30*time.Second)
	st, err := all[0].State(t.Context())
	if err != nil || st.Refusals != 1 || st.Proven {
		t.Errorf("State = %+v, %v; want one refusal", st, err)
	}
	mustEnter(t, all[1]) // has not looked yet
	clock.advance(recheckProof)
	_, err = all[1].Enter(t.Context())
	wantCooling(t, err, 30*time.Second)
	told.expect(t, "basic parked", "basic parked")

	// The account is mended: one call alone, then all.
	if err := all[0].ClearCoolDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass, alone := mustEnter(t, all[0]).(*lonePass)
	if !alone {
		t.Fatal("a credential that was refused did not go alone")
	}
	pass.Report(t.Context(), Accepted)
	clock.advance(2 * time.Second)
	if _, alone := mustEnter(t, all[1]).(*lonePass); alone {
		t.Error("the other process proves it again")
	}
	told.expect(t, "basic parked", "basic parked", "basic resumed", "basic resumed")
}

// Calls of two processes are refused together: one refusal, not two.
func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	all := gates(t, 8, rdb)
	var under []Pass
	for _, g := range all {
		mustEnter(t, g).Report(t.Context(), Accepted)
		under = append(under, mustEnter(t, g))
	}
	for range 20 {
		under = append(under, mustEnter(t, all[0]))
	}
	hook := &counting{}
	rdb.AddHook(hook)
	for _, pass := range under {
		pass.Report(t.Context(), Refused)
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
	rdb := backends[0].start(t)
	clock := &testClock{}
	g := newGate(t, rdb, gateProfile(t), WithClock(clock.now))
	mustEnter(t, g).Report(t.Context(), Accepted)
	mustEnter(t, g).Report(t.Context(), Accepted)
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	clock.advance(recheckProof)
	if _, alone := mustEnter(t, g).(*lonePass); alone {
		t.Error("a credential in good standing must prove itself again")
	}
}

// But an old acceptance does not outweigh a refusal on record.
func TestOldAcceptanceDoesNotOutweighARefusal(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	clock := &testClock{}
	all := gates(t, 2, rdb, WithClock(clock.now), WithCoolDowns(time.Millisecond))
	mustEnter(t, all[0]).Report(t.Context(), Accepted)
	pass := mustEnter(t, all[1])
	mustEnter(t, all[0]).Report(t.Context(), Accepted)
	pass.Report(t.Context(), Refused)
	clock.advance(recheckProof)
	eventually(t, "the rest to end", func() bool {
		st, err := all[0].State(t.Context())
		return err == nil && st.CoolingFor == 0
	})
	if _, alone := mustEnter(t, all[0]).(*lonePass); !alone {
		t.Error("a refused credential went on as if proven")
	}
}

func TestGateWithoutRedis(t *testing.T) {
	t.Parallel()
	t.Run("proven", func(t *testing.T) {
		t.Parallel()
		srv := redistest.New(t)
		clock := &testClock{}
		g := newGate(t, quickClient(t, srv.Addr()), gateProfile(t), WithClock(clock.now))
		mustEnter(t, g).Report(t.Context(), Accepted)
		srv.Stop()
		for range 5 {
			clock.advance(recheckProof)
			if _, alone := mustEnter(t, g).(*lonePass); alone {
				t.Error("a proven credential went alone")
			}
		}
		mustEnter(t, g).Report(t.Context(), Refused)
		_, err := g.Enter(t.Context())
		wantCooling(t, err, 30*time.Second)
	})
	t.Run("unproven", func(t *testing.T) {
		t.Parallel()
		g := newGate(t, closedClient(t), gateProfile(t))
		var calls atomic.Int64
		crowd(t, []*SharedGate{g}, 20, func(g *SharedGate) {
			pass, err := g.Enter(t.Context())
			if err == nil {
				calls.Add(1)
				pass.Report(t.Context(), Refused)
				return
			}
			wantCooling(t, err, 30*time.Second)
		})
		if calls.Load() != 1 {
			t.Errorf("%d calls with the wrong password, want 1", calls.Load())
		}
	})
	t.Run("unproven and right", func(t *testing.T) {
		t.Parallel()
		srv := redistest.New(t)
		clock := &testClock{}
		g := newGate(t, quickClient(t, srv.Addr()), gateProfile(t), WithClock(clock.now))
		srv.Stop()
		mustEnter(t, g).Report(t.Context(), Accepted)
		mustEnter(t, g)
		srv.Start()
		eventually(t, "Redis to answer", func() bool { _, err := g.State(t.Context()); return err == nil })
		clock.advance(recheckProof)
		mustEnter(t, g)
		if st, err := g.State(t.Context()); err != nil || !st.Proven {
			t.Errorf("State = %+v, %v; want the fleet to know it is proven", st, err)
		}
	})
}

func TestClosedGate(t *testing.T) {
	t.Parallel()
	rdb := backends[0].start(t)
	g := newGate(t, rdb, gateProfile(t))
	pass := mustEnter(t, g)
	waiting := make(chan error, 1)
	go func() {
		_, err := g.Enter(context.Background())
		waiting <- err
	}()
	g.Close()
	if err := <-waiting; !errors.Is(err, errClosed) {
		t.Errorf("the waiting caller got %v", err)
	}
	pass.Report(t.Context(), Accepted)
}

func TestOpenGateAndFixedSource(t *testing.T) {
	t.Parallel()
	mustEnter(t, OpenGate()).Report(t.Context(), Refused)
	mustEnter(t, OpenGate())
	s := Fixed("x")
	tok := mustGet(t, s)
	if !tok.Value.Equal("x") || s.Reject(t.Context(), tok) || s.Suspect(t.Context(), tok) {
		t.Error("Fixed is not fixed")
	}
}
