package fleet

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// breaker is the key of the only breaker that has opened.
func (f *Fixture) breaker() string {
	f.tb.Helper()
	keys, err := f.Conn().Keys(f.tb.Context(), "limit:*:b").Result()
	if err != nil || len(keys) != 1 {
		f.tb.Fatalf("the breakers are %q, %v", keys, err)
	}
	return keys[0]
}

// openFor waits until the breaker is open, and returns for how long.
func (f *Fixture) openFor() (left time.Duration) {
	f.tb.Helper()
	ctx := f.tb.Context()
	key := f.breaker()
	testwait.Eventually(f.tb, waitLimit, "the breaker is open", func() bool {
		now, err := f.Conn().Time(ctx).Result()
		if err != nil {
			f.tb.Fatal(err)
		}
		state := f.Conn().HGetAll(ctx, key).Val()
		until, _ := strconv.ParseInt(state["until"], 10, 64)
		left = time.UnixMicro(until).Sub(now)
		return state["state"] == "open" && left > 0
	})
	return left
}

// skipWait lets the time pass for which the breaker is open.
func (f *Fixture) skipWait() {
	f.tb.Helper()
	if err := f.Conn().HSet(f.tb.Context(), f.breaker(), "until", 0).Err(); err != nil {
		f.tb.Fatal(err)
	}
}

// An account that the vendor refuses as a whole for an hour gets a call now and then from
// the whole fleet. A task that waits has one entry for that in its history, however often it
// was refused, and is done soon after the account is mended. The test skips the waits, and
// adds them up to the hour.
func TestARefusedAccountIsLeftInPeaceForAnHour(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: map[string]string{"WORKER_QUEUES": Queues("danaconnect")}})
	f.Start(3)
	f.Wait(waitLimit, f.EnqueueMany(3, f.Updates)) // the account has its token
	Elapse(t, 1100*time.Millisecond)               // for a second a worker calls without asking
	ctx, cancel := context.WithTimeout(t.Context(), 2*waitLimit)
	defer cancel()
	f.Updates.Inject(sandbox.Fault{Status: 403})
	before := f.Updates.Calls()
	ids := []string{f.EnqueueNew(f.Updates)}
	if err := f.Updates.WaitAnswered(ctx, before+1); err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, waitLimit, "the breaker opens", func() bool {
		return len(f.Conn().Keys(ctx, "limit:*:b").Val()) == 1
	})
	ids = append(ids, f.EnqueueMany(20, f.Updates)...)
	f.WaitState(waitLimit, tasks.Parked, ids)

	var waits []string
	for passed := time.Duration(0); ; f.skipWait() {
		wait := f.openFor()
		if passed += wait; passed > time.Hour {
			break
		}
		waits = append(waits, wait.Round(time.Second).String())
	}
	calls := f.Updates.Calls() - before
	t.Logf("%d calls in an hour, with %s between them", calls, strings.Join(waits, ", "))
	if calls > 10 || calls < 5 {
		t.Errorf("%d calls in an hour, want 10 at the most, and some", calls)
	}
	told := 0
	for _, p := range f.Processes() {
		told += strings.Count(p.Log(), `"alert":"account.open"`)
	}
	if told != 1 {
		t.Errorf("it was told %d times that the account is refused", told)
	}

	f.Updates.Engine.Clear(f.Updates.Op)
	if _, err := app.ClearCoolDown(ctx, f.Settings(), "danaconnect-api"); err != nil {
		t.Fatal(err)
	}
	f.Wait(time.Minute, ids)
	f.CheckDone(ids)
	refused := 0
	for _, id := range ids {
		status, err := f.Client.Status(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if len(status.History) > 2 {
			t.Errorf("a history has more than the refusal and the end: %s", describe(status))
		}
		refused += len(status.History) - 1
	}
	if refused == 0 {
		t.Error("no history tells of a refusal")
	}
	f.StopAll()
}
