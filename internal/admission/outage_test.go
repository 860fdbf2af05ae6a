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
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

var tripShare = settings.Share{Percent: 70, Within: 30 * time.Second}

// outageFleet are the breakers of several processes, on one clock that the test drives.
type outageFleet struct {
	*world
	t       *testing.T
	all     []*Outage
	changes []bool
}

func newOutageFleet(t *testing.T, rdb redis.UniversalClient, n int) *outageFleet {
	t.Helper()
	f := &outageFleet{t: t, world: newWorld()}
	limits := account(t, settings.Rate{}, 0)
	for range n {
		f.all = append(f.all, NewOutage(rdb, seal.NewSalt(rdb), limits, tripShare,
			WithClock(f.world), WithOnOutage(func(c OutageChange) { f.changes = append(f.changes, c.Open) })))
	}
	return f
}

// later lets time pass.
func (f *outageFleet) later(d time.Duration) {
	f.mu.Lock()
	f.now = f.now.Add(d)
	f.mu.Unlock()
}

// call makes one call by process i, and reports whether it was admitted.
func (f *outageFleet) call(i int, repeatable bool, v Verdict) bool {
	f.t.Helper()
	p, err := f.all[i].Acquire(f.t.Context(), Request{Repeatable: repeatable})
	if err != nil {
		blocked, ok := errors.AsType[*Blocked](err)
		if !ok || blocked.Key != "shop:breaker" || blocked.RetryAfter < blockFor {
			f.t.Fatalf("not admitted with %#v", err)
		}
		return false
	}
	p.Done(f.t.Context(), Result{Verdict: v})
	return true
}

func (f *outageFleet) trip() {
	f.t.Helper()
	for range 10 {
		if !f.call(0, true, Failed) {
			f.t.Fatal("it opened before ten calls had failed")
		}
	}
	if f.call(0, true, Failed) {
		f.t.Fatal("it did not open when ten calls had failed")
	}
}

// A fleet whose vendor fails makes ten calls, then one probe after 1, 2, 4, 8 and then
// every 10 seconds. When one succeeds the calls come back slowly, and the change is told
// once.
func TestAFleetLeavesAVendorInTroubleInPeace(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 4)
	f.trip()
	calls := 10
	var probes []time.Duration
	for at := time.Duration(0); at < time.Minute; at += 100 * time.Millisecond {
		f.later(100 * time.Millisecond)
		for i := range f.all {
			if f.call(i, true, Failed) {
				calls++
				if i == 0 || len(probes) == 0 || probes[len(probes)-1] != at {
					probes = append(probes, at)
				}
			}
		}
	}
	// Each of the three others may make one call before it learns of it.
	if calls > 10+3+9 {
		t.Errorf("%d calls in a minute", calls)
	}
	f.later(outageMost)
	var perSecond []int
	for range 9 {
		n := 0
		for range 10 {
			f.later(100 * time.Millisecond)
			for range 5 {
				for i := range f.all {
					if f.call(i, true, Accepted) {
						n++
					}
				}
			}
		}
		perSecond = append(perSecond, n)
	}
	if perSecond[0] > 2 || perSecond[1] > 4 || perSecond[2] > 8 || perSecond[8] < 150 {
		t.Errorf("calls a second after the outage: %v", perSecond)
	}
	if len(f.changes) != 2 || !f.changes[0] || f.changes[1] {
		t.Errorf("told %v, want open and closed", f.changes)
	}
	if state, err := f.all[1].State(t.Context()); err != nil || !state.Closed || !f.all[1].Usable(t.Context()) {
		t.Errorf("%+v, %v", state, err)
	}
}

// A vendor that fails every second call stays in use, and so does one that answers with
// 4xx, or whose calls show nothing.
func TestABreakerDoesNotOpenWithoutCause(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(i int) Verdict{
		"every second call": func(i int) Verdict { return []Verdict{Accepted, Failed}[i%2] },
		"two of three":      func(i int) Verdict { return []Verdict{Accepted, Failed, Failed}[i%3] },
		"cut short":         func(int) Verdict { return Inconclusive },
		"few":               func(i int) Verdict { return []Verdict{Failed, Inconclusive}[min(i/9, 1)] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newOutageFleet(t, redistest.New(t).Client(), 1)
			for i := range 300 {
				f.later(50 * time.Millisecond)
				if !f.call(0, true, next(i)) {
					t.Fatalf("call %d was not admitted", i)
				}
			}
		})
	}
}

// While calls fail, a fifth of them may be retries, or one a second; when they do not, all
// of them may.
func TestRetriesAreAFifthWhileTheVendorFails(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 1)
	o := f.all[0]
	retries := func(n int) (admitted int) {
		for range n {
			p, err := o.Acquire(t.Context(), Request{Retry: true})
			if err != nil {
				if blocked, ok := errors.AsType[*Blocked](err); !ok || blocked.Key != "shop:retries" ||
					blocked.RetryAfter < time.Second || blocked.RetryAfter > 10*time.Second {
					t.Fatalf("not admitted with %#v", err)
				}
				continue
			}
			admitted++
			p.Done(t.Context(), Result{Verdict: Accepted})
		}
		return admitted
	}
	if n := retries(100); n != 100 {
		t.Errorf("%d of 100 retries while the vendor works", n)
	}
	f.call(0, true, Failed)
	first, again := 0, 0
	for range 100 {
		f.call(0, true, Accepted)
		first++
		again += retries(5)
	}
	if again < 20 || again > 25 {
		t.Errorf("%d retries beside %d first tries, want a fifth", again, first)
	}
	again = 0
	for range 100 {
		f.later(100 * time.Millisecond)
		again += retries(5)
	}
	if again < 8 || again > 11 {
		t.Errorf("%d retries in 10 s in which nothing new came, want one a second", again)
	}
	f.later(tripShare.Within)
	if n := retries(100); n != 100 {
		t.Errorf("%d of 100 retries after the failure is forgotten", n)
	}
}

// An outage after thousands of good calls opens the breaker after 20 failures in a row.
func TestABusyAccountTripsSoon(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 1)
	for range 3000 {
		f.call(0, true, Accepted)
	}
	n := 0
	for f.call(0, true, Failed) {
		n++
	}
	if n != 20 {
		t.Errorf("%d calls failed before it opened, want 20", n)
	}
}

// Failures of several processes are in a row although each tells of good answers of before.
func TestABusyFleetTripsSoon(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 20)
	f.call(0, true, Failed) // the fleet remembers what is good from now on
	f.later(time.Millisecond)
	for range 50 {
		for i := range f.all {
			f.call(i, true, Accepted)
		}
	}
	f.later(time.Millisecond)
	n := 0
	for closed := true; closed; n++ {
		f.call(n%len(f.all), true, Failed)
		f.later(time.Millisecond)
		state, err := f.all[0].State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closed = state.Closed
	}
	if n != 20 {
		t.Errorf("%d calls failed before it opened, want 20", n)
	}
}

// When calls fail together, their process knows that the breaker has opened as soon as the
// last of them has ended: no reply of before it comes later and says that it is closed.
func TestCallsThatFailTogether(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 1)
	o := f.all[0]
	for range 200 {
		var calls []Permit
		for range 16 {
			p, err := o.Acquire(t.Context(), Request{})
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, p)
		}
		var ended sync.WaitGroup
		for _, p := range calls {
			ended.Go(func() { p.Done(t.Context(), Result{Verdict: Failed}) })
		}
		ended.Wait()
		if _, err := o.Acquire(t.Context(), Request{}); err == nil {
			t.Fatal("a call goes after 16 have failed")
		}
		if err := o.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// The probe is a repeatable task if one waits. Another is preceded by a connection.
func TestWhoProbes(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 2)
	f.trip()
	f.later(1100 * time.Millisecond)
	if f.call(1, false, Failed) { // it does not know yet that the breaker is open
		f.later(1100 * time.Millisecond)
	}
	if f.call(1, false, Accepted) {
		t.Error("a task that must not be repeated is the probe although a repeatable one waits")
	}
	f.later(time.Second)
	if !f.call(0, true, Failed) {
		t.Error("the repeatable task is not the probe")
	}
	f.later(keenFor + outageMost)
	connected := 0
	acquire := func(reachable error) error {
		_, err := f.all[1].Acquire(t.Context(), Request{Connect: func(context.Context) error {
			connected++
			return reachable
		}})
		return err
	}
	if err := acquire(errors.New("refused")); err == nil || connected != 1 {
		t.Errorf("%v after %d connections, want no call", err, connected)
	}
	f.later(outageMost)
	if err := acquire(nil); err != nil || connected != 2 {
		t.Errorf("%v after %d connections, want a call", err, connected)
	}
	if err := acquire(nil); err == nil {
		t.Error("two probes at once")
	}
	f.later(f.all[0].timeout + permitSlack + time.Second) // it died
	if err := acquire(nil); err != nil {
		t.Errorf("the next probe: %v", err)
	}
}

// A breaker that opens again soon goes on with its last wait; a lucky answer does not keep
// it closed.
func TestABreakerThatReopens(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 1)
	f.trip()
	f.later(outageFirst)
	if !f.call(0, true, Accepted) {
		t.Fatal("no probe")
	}
	bad := 0
	for range 40 {
		f.later(100 * time.Millisecond)
		if f.call(0, true, Failed) {
			bad++
		}
	}
	if bad < 2 || bad > 4 {
		t.Errorf("%d calls after one lucky answer", bad)
	}
	state, err := f.all[0].State(t.Context())
	if err != nil || state.Closed {
		t.Errorf("%+v, %v", state, err)
	}
}

// A refusal, or a 429 without Retry-After, stops the account at once, for 30 s and then
// twice as long each time, up to ten minutes: in an hour three processes make ten calls,
// and those that call beside the first one. An operator who has mended it need not wait.
func TestARefusedAccountRestsAsAWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		verdict Verdict
		reason  string
		// inTurn: one process calls a second, as with one task. Otherwise all do.
		inTurn bool
		most   int
	}{
		"403":             {verdict: Refused, reason: "403", most: 12},
		"429":             {verdict: Exhausted, reason: "429", most: 12},
		"403 of one task": {verdict: Refused, reason: "403", inTurn: true, most: 10},
		"429 of one task": {verdict: Exhausted, reason: "429", inTurn: true, most: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, reason := tc.verdict, tc.reason
			f := newOutageFleet(t, redistest.New(t).Client(), 3)
			calls := 0
			for second := range 3600 {
				for i := range f.all {
					if tc.inTurn && i != second%len(f.all) {
						continue
					}
					if f.call(i, true, v) {
						calls++
					}
				}
				f.later(time.Second)
			}
			// 30 s, 1, 2, 4, 8, and then 10 min each.
			if calls < 9 || calls > tc.most {
				t.Errorf("%d calls in an hour, want %d at the most", calls, tc.most)
			}
			_, err := f.all[1].Acquire(t.Context(), Request{})
			if blocked, ok := errors.AsType[*Blocked](err); !ok || !strings.Contains(blocked.Reason, reason) {
				t.Errorf("blocked by %v, want a reason with %s", err, reason)
			}
			if err := f.all[0].Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.later(syncEvery)
			for i := range f.all {
				if !f.call(i, false, Accepted) {
					t.Errorf("process %d still waits", i)
				}
			}
			if len(f.changes) != 1 || !f.changes[0] {
				t.Errorf("told %v, want open once", f.changes)
			}
		})
	}
	f := newOutageFleet(t, redistest.New(t).Client(), 1)
	p, err := f.all[0].Acquire(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	p.Done(t.Context(), Result{Verdict: Exhausted, RetryAfter: time.Second})
	if !f.call(0, true, Accepted) {
		t.Error("a 429 that says when to come back stopped the account")
	}
}

// A closed breaker costs one round trip a second.
func TestAClosedOutageIsFree(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	hook := &counting{}
	rdb.AddHook(hook)
	f := newOutageFleet(t, rdb, 1)
	f.call(0, true, Accepted) // asks, also for the salt
	for second := range 3 {
		before := hook.commands.Load()
		for range 1000 {
			f.call(0, true, Accepted)
		}
		if n, want := hook.commands.Load()-before, int64(min(second, 1)); n != want {
			t.Errorf("1000 calls asked Redis %d times, want %d", n, want)
		}
		f.later(2 * syncEvery)
	}
	if keys := rdb.Keys(t.Context(), "limit:*").Val(); len(keys) != 0 {
		t.Errorf("a healthy account leaves %q in Redis", keys)
	}
}

// Without Redis every call is admitted.
func TestOutageWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	f := newOutageFleet(t, quickClient(t, server.Addr()), 1)
	f.trip()
	server.Stop()
	f.later(time.Minute)
	if !f.call(0, true, Failed) {
		t.Error("a call was not admitted")
	}
	if f.all[0].Usable(t.Context()) {
		t.Error("it counts as usable")
	}
}

// A process that has made no call for a while makes none once the breaker has opened: it asks
// first, and those who come at the same time wait for the answer.
func TestAnIdleProcessAsksFirst(t *testing.T) {
	t.Parallel()
	f := newOutageFleet(t, redistest.New(t).Client(), 2)
	f.call(1, true, Accepted)
	f.trip()
	f.later(outageFirst + syncEvery)
	var went atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := f.all[1].Acquire(t.Context(), Request{}); err == nil {
				went.Add(1)
			}
		})
	}
	all.Wait()
	if n := went.Load(); n > 1 { // the probe
		t.Errorf("%d calls of a process that had not heard of the outage", n)
	}
}

// Nobody else probes while the one who does reads a 403: it may refuse the account, or only a
// token or a pipe, and then its task goes on with the same probe.
func TestAProbeIsHeldUntilItsAnswerIsRead(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	for name, tt := range map[string]struct {
		refused bool
		// then says whether another process may call once the answer is read.
		then bool
	}{
		"the account is refused":     {true, false},
		"something else was refused": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newOutageFleet(t, rdb, 2)
			f.trip()
			f.call(1, true, Failed) // and learns that it is open
			f.later(outageMost)
			ask := Request{Task: "a", Repeatable: true}
			for range 2 { // the call, and its replay with a fresh token
				p, err := f.all[0].Acquire(t.Context(), ask)
				if err != nil {
					t.Fatal(err)
				}
				p.Done(t.Context(), Result{Verdict: Undecided})
				ask.Underway = true
				f.later(time.Second)
				if f.call(1, true, Accepted) {
					t.Error("two probe at once")
				}
			}
			blocked := f.all[0].Conclude(t.Context(), "a", tt.refused)
			if (blocked != nil) != tt.refused || blocked != nil && (blocked.Key != "shop:breaker" || !blocked.Refused) {
				t.Errorf("%v, refused is %v", blocked, tt.refused)
			}
			f.later(time.Second)
			if went := f.call(1, true, Accepted); went != tt.then {
				t.Errorf("another call went: %v", went)
			}
			if err := f.all[0].Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
