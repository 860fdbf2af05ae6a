package admission

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/settings"
)

// 20 goroutines over several clients: whatever the rate, no window of its span
// holds more, wherever it begins; and little of it is left unused.
func proveRate(t *testing.T, clients []redis.UniversalClient) {
	for _, rate := range []settings.Rate{perMinute(95), {N: 5, Per: time.Second}, {N: 1, Per: time.Second}, {N: 250, Per: 10 * time.Second}, {N: 7, Per: 90 * time.Second}} {
		t.Run(rate.String(), func(t *testing.T) {
			t.Parallel()
			const callers, each = 20, 12
			f := newFleet(t, clients, account(t, rate, 0))
			f.work(callers, func(i int) {
				for k := range each {
					f.task(fmt.Sprintf("dinero-%d-%d", i, k), 1, 150*time.Millisecond)
				}
			})
			f.wantRate(rate)
			interval, slack := bucket(rate)
			ideal := time.Duration(int64(callers*each-1)*interval-slack) * time.Microsecond
			if len(f.went) != callers*each || f.took() > ideal+ideal/20+time.Second {
				t.Errorf("%d calls in %s, could be %s", len(f.went), f.took(), ideal)
			}
		})
	}
}

// Many tasks that come at once: each is told its own time, comes then and goes,
// in the order in which they came.
func proveLine(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(95), 0))
	f.coarse = true
	list := names(300)
	f.work(len(list), func(i int) {
		_ = f.Sleep(context.Background(), time.Duration(i)*time.Millisecond)
		f.task(list[i], 1, 200*time.Millisecond)
	})
	f.wantRate(perMinute(95))
	if all, most := f.asks(); all > 2*len(list) || most > 3 {
		t.Errorf("%d asks for %d tasks, %d of one", all, len(list), most)
	}
	if n := f.overtaken(list); n > 3 {
		t.Errorf("one was overtaken by %d", n)
	}
}

func proveAtOnce(t *testing.T, clients []redis.UniversalClient) {
	for _, tt := range []struct {
		atOnce settings.Count
		call   time.Duration // the shortest
	}{{1, 100 * time.Millisecond}, {3, 100 * time.Millisecond}, {2, 2 * time.Second}} {
		t.Run(fmt.Sprint(tt.atOnce, " for ", tt.call), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, clients, account(t, settings.Rate{}, tt.atOnce))
			f.coarse = true
			list := names(60)
			f.work(len(list), func(i int) {
				_ = f.Sleep(context.Background(), time.Duration(i)*10*time.Millisecond)
				f.task(list[i], 1, tt.call+time.Duration(i%5)*tt.call)
			})
			if f.most > int(tt.atOnce) || len(f.went) != len(list) {
				t.Errorf("%d calls at once, %d in all", f.most, len(f.went))
			}
			// Nobody knows when a call ends, so some time is lost; little of it.
			if ideal := 180 * tt.call / time.Duration(tt.atOnce); f.took() > ideal*3/2 {
				t.Errorf("took %s, could be %s", f.took(), ideal)
			}
			if n := f.overtaken(list); n > len(list)*2/3 {
				t.Errorf("one was overtaken by %d", n)
			}
		})
	}
}

func proveBoth(t *testing.T, clients []redis.UniversalClient) {
	rate := settings.Rate{N: 5, Per: time.Second}
	f := newFleet(t, clients, account(t, rate, 2))
	f.coarse = true
	f.work(80, func(i int) { f.task(fmt.Sprint("dinero-", i), 1, 300*time.Millisecond) })
	f.wantRate(rate)
	if f.most > 2 || len(f.went) != 80 || f.took() > 22*time.Second {
		t.Errorf("%d at once, %d calls in %s", f.most, len(f.went), f.took())
	}
	// Who waits for the rate holds no permit meanwhile.
	other := account(t, perMinute(180), 3)
	other.Identity = []string{t.Name(), "other"}
	f = newFleet(t, clients, other)
	for i, want := range []string{"go", "go", "go", "go", "go", "soon"} {
		r, err := f.limiters[0].acquire(t.Context(), "p", Request{Task: fmt.Sprint("dinero-", i), Deadline: time.Hour}, patience)
		if err != nil || r.Text(0) != want {
			t.Errorf("number %d: %v, %v", i, r, err)
		}
	}
}

// A worker that is killed with a permit holds it as long as its call may take and
// no longer.
func proveKilledHolder(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, settings.Rate{}, 1))
	if _, err := f.limiters[0].Acquire(t.Context(), Request{Task: "dinero-killed"}); err != nil {
		t.Fatal(err)
	}
	begun := f.Now()
	f.work(3, func(i int) { f.task(fmt.Sprint("dinero-", i), 1, 100*time.Millisecond) })
	if after := f.went[0].Sub(begun); after < 18*time.Second || after > 19*time.Second {
		t.Errorf("free again after %s, want 18 s: the call's 15 s and 3 s", after)
	}
	if f.most != 1 {
		t.Errorf("%d at once", f.most)
	}
}

// A task with many calls does not begin anew for every one of them while others
// stand in line.
func proveUnderway(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, perMinute(95), 0))
	thrownBack := 0
	f.work(101, func(i int) {
		if i == 100 {
			thrownBack = f.task("dinero-lookup", 12, 200*time.Millisecond)
			return
		}
		_ = f.Sleep(context.Background(), time.Millisecond)
		f.task(fmt.Sprintf("dinero-%03d", i), 1, 200*time.Millisecond)
	})
	f.wantRate(perMinute(95))
	if thrownBack > 0 {
		t.Errorf("thrown back %d times amid its calls", thrownBack)
	}
	if all, _ := f.asks(); all > 5*len(f.asked) {
		t.Errorf("%d asks for %d tasks", all, len(f.asked))
	}
}

// A 429 closes the account for the whole fleet, and nobody else's.
func proveClosed(t *testing.T, clients []redis.UniversalClient) {
	a := account(t, perMinute(600), 0)
	a.QuotaPause = 40 * time.Second
	f := newFleet(t, clients, a)
	one, other := f.limiters[0], f.limiters[len(f.limiters)-1]
	enter := func(l *Limiter, task string) (Permit, time.Duration) {
		t.Helper()
		pass, err := l.Acquire(t.Context(), Request{Task: task, Deadline: time.Hour})
		if waits, ok := errors.AsType[*Blocked](err); ok {
			if waits.Key != "shop:rate" || waits.Reason != "the vendor has said that the calls of shop are used up" {
				t.Errorf("%+v", waits)
			}
			return nil, waits.RetryAfter
		}
		if err != nil {
			t.Fatal(err)
		}
		return pass, 0
	}
	pass, _ := enter(one, "dinero-0")
	pass.Done(t.Context(), Result{Verdict: Exhausted})
	interval, _ := bucket(a.Rate)
	step := time.Duration(interval) * time.Microsecond
	for i := range 3 { // each gets a time of its own
		if _, wait := enter(other, fmt.Sprint("dinero-", i)); wait != 40*time.Second+time.Duration(i)*step {
			t.Errorf("number %d waits %s", i, wait)
		}
	}
	pass.Done(t.Context(), Result{Verdict: Exhausted, RetryAfter: 10 * time.Second}) // less than is known
	if state, err := other.State(t.Context()); err != nil || state != (LimitState{PausedFor: 40 * time.Second, Waiting: 3}) {
		t.Errorf("%+v, %v", state, err)
	}
	pass.Done(t.Context(), Result{Verdict: Exhausted, RetryAfter: 100 * time.Hour}) // a mistake, or as good as one
	if _, wait := enter(other, "dinero-0"); wait != time.Hour {
		t.Errorf("waits %s", wait)
	}
	b := a
	b.Identity = []string{t.Name(), "another organization"}
	if _, wait := enter(newFleet(t, clients, b).limiters[0], "dinero-0"); wait != 0 {
		t.Errorf("another account waits %s", wait)
	}
	_ = f.Sleep(t.Context(), time.Hour)
	if _, wait := enter(other, "dinero-0"); wait != 0 {
		t.Errorf("afterwards: waits %s", wait)
	}
}

// A rate that was a mistake does not last until its last place is over.
func proveSettings(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, settings.Rate{N: 1, Per: time.Hour}, 0))
	for i := range 10 {
		_, err := f.limiters[0].Acquire(t.Context(), Request{Task: fmt.Sprint("dinero-", i), Deadline: 24 * time.Hour})
		if waits, ok := errors.AsType[*Blocked](err); ok != (i > 0) || ok && waits.RetryAfter.Round(time.Second) != time.Duration(i)*time.Hour {
			t.Errorf("number %d: %v", i, err)
		}
	}
	mended := NewLimiter(clients[0], f.limiters[0].salt, account(t, perMinute(95), 0), WithClock(f.world))
	_, err := mended.Acquire(t.Context(), Request{Task: "dinero-9"})
	if waits, ok := errors.AsType[*Blocked](err); !ok || waits.RetryAfter > time.Second {
		t.Errorf("the bucket is empty, and the line too: %v", err)
	}
}

// go-redis asks again when a reply was lost: it is the same question.
func proveLostReplies(t *testing.T, clients []redis.UniversalClient) {
	f := newFleet(t, clients, account(t, settings.Rate{}, 1))
	l := f.limiters[0]
	for range 2 {
		if r, err := l.acquire(t.Context(), "the same", Request{Task: "dinero-1"}, 0); err != nil || r.Text(0) != "go" {
			t.Errorf("%v, %v", r, err)
		}
	}
	told := map[string]bool{}
	for range 3 {
		r, err := l.acquire(t.Context(), "another", Request{Task: "dinero-2", Deadline: time.Hour}, 0)
		told[fmt.Sprint(r, err)] = true
	}
	state, err := l.State(t.Context())
	if len(told) != 1 || err != nil || state != (LimitState{Waiting: 1, Underway: 1}) {
		t.Errorf("%v, %+v, %v", told, state, err)
	}
	for range 2 {
		if _, err := l.run(t.Context(), releaseScript, "the same", 1000); err != nil {
			t.Error(err)
		}
	}
	if r, err := l.acquire(t.Context(), "another", Request{Task: "dinero-2"}, 0); err != nil || r.Text(0) != "go" {
		t.Errorf("%v, %v", r, err)
	}
}
