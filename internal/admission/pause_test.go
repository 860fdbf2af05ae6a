package admission

import (
	"errors"
	"testing"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

// pausedBy asks for a call and reports whether a pause stops it.
func pausedBy(t *testing.T, a *Account, r Request) bool {
	t.Helper()
	p, err := a.Acquire(t.Context(), r)
	if err == nil {
		p.Done(t.Context(), Result{Verdict: Accepted})
		return false
	}
	blocked, ok := errors.AsType[*Blocked](err)
	if !ok || blocked.Key != "shop:pause" || blocked.Reason != "shop is paused by an operator" || blocked.Refused || blocked.Turn {
		t.Fatalf("not admitted with %#v", err)
	}
	return true
}

// A process learns within a second that an account is paused, and within a second that it
// is resumed. The pause ends by itself when its time is up. Other accounts go on.
func TestAPausedAccountStartsNothing(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	store := record.New(rdb)
	w := newWorld()
	shop := &Account{Pause: NewPause(rdb, "shop", WithClock(w))}
	other := &Account{Pause: NewPause(rdb, "other", WithClock(w))}
	later := func(d time.Duration) { _ = w.Sleep(t.Context(), d) }
	if pausedBy(t, shop, Request{}) {
		t.Fatal("it is paused from the start")
	}
	if _, err := store.PauseAccount(t.Context(), "shop", record.Pause{Reason: "r"}, 0); err != nil {
		t.Fatal(err)
	}
	later(recheckPause)
	for range 3 {
		if !pausedBy(t, shop, Request{Repeatable: true}) {
			t.Error("a call of a paused account started")
		}
		later(time.Hour)
	}
	if shop.Pause.Usable(t.Context()) || !other.Pause.Usable(t.Context()) || pausedBy(t, other, Request{}) {
		t.Error("the pause is not that of the account")
	}
	if was, err := store.ResumeAccount(t.Context(), "shop"); err != nil || !was {
		t.Fatal(was, err)
	}
	later(recheckPause)
	if pausedBy(t, shop, Request{}) || !shop.Pause.Usable(t.Context()) {
		t.Error("it is paused after its resumption")
	}

	if _, err := store.PauseAccount(t.Context(), "shop", record.Pause{Reason: "r"}, 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	later(recheckPause)
	_, err := shop.Acquire(t.Context(), Request{})
	if b, ok := errors.AsType[*Blocked](err); !ok || b.RetryAfter < 29*time.Minute || b.RetryAfter > 30*time.Minute {
		t.Errorf("%#v, want a wait of 30 minutes", err)
	}
	key := record.AccountPauseKey("shop")
	if ttl := rdb.PTTL(t.Context(), key).Val(); ttl < 29*time.Minute || ttl > 30*time.Minute {
		t.Errorf("the pause expires in %s", ttl)
	}
	rdb.Del(t.Context(), key) // as its expiry does
	later(30 * time.Minute)
	if pausedBy(t, shop, Request{}) {
		t.Error("it is paused after its time")
	}
}

// A call that waited for its turn while the account was paused does not start, and gives
// its place back.
func TestAPauseStopsWhoWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	w := newWorld()
	limits := account(t, settings.Rate{N: 1, Per: 1500 * time.Millisecond}, 1)
	shop := &Account{
		Pause:   NewPause(rdb, "shop", WithClock(w)),
		Outage:  NewOutage(rdb, seal.NewSalt(rdb), limits, tripShare, WithClock(w)),
		Limiter: NewLimiter(rdb, seal.NewSalt(rdb), limits, WithClock(w)),
	}
	if pausedBy(t, shop, Request{}) {
		t.Fatal("it is paused from the start")
	}
	if _, err := record.New(rdb).PauseAccount(t.Context(), "shop", record.Pause{}, 0); err != nil {
		t.Fatal(err)
	}
	before := w.Now()
	if !pausedBy(t, shop, Request{Task: "t", Underway: true, MaxWait: patience}) {
		t.Error("a call started after the pause")
	}
	if waited := w.Now().Sub(before); waited < recheckPause {
		t.Fatalf("it waited %s for its turn, so nothing is shown", waited)
	}
	if state, err := shop.Limiter.State(t.Context()); err != nil || state.Underway != 0 {
		t.Errorf("%+v, %v", state, err)
	}
}

// What is known of a pause holds while Redis does not answer, and costs one question a
// second while it does.
func TestAPauseWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	rdb := quickClient(t, server.Addr())
	if err := rdb.Ping(t.Context()).Err(); err != nil { // connects
		t.Fatal(err)
	}
	hook := &counting{}
	rdb.AddHook(hook)
	w := newWorld()
	shop := &Account{Pause: NewPause(rdb, "shop", WithClock(w))}
	for range 1000 {
		if pausedBy(t, shop, Request{}) {
			t.Fatal("it is paused from the start")
		}
	}
	if n := hook.commands.Load(); n != 1 {
		t.Errorf("1000 calls within a second asked Redis %d times", n)
	}
	if _, err := record.New(server.Client()).PauseAccount(t.Context(), "shop", record.Pause{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	_ = w.Sleep(t.Context(), recheckPause)
	if !pausedBy(t, shop, Request{}) {
		t.Error("it is not paused")
	}
	server.Stop()
	_ = w.Sleep(t.Context(), 30*time.Second)
	if !pausedBy(t, shop, Request{}) {
		t.Error("the pause ended when Redis went away")
	}
	if shop.Pause.Usable(t.Context()) {
		t.Error("it counts as usable")
	}
	_ = w.Sleep(t.Context(), time.Minute)
	if pausedBy(t, shop, Request{}) {
		t.Error("the pause outlives its time")
	}
}
