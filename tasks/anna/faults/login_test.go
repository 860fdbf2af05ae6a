package faults

import (
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// newLoginFixture returns a fixture whose AnnA issues tokens of the given life.
func newLoginFixture(t *testing.T, life time.Duration) *fixture {
	t.Helper()
	return newFixture(t, fleet.Options{
		Sandboxes: []func(canary string) sandbox.Vendor{
			func(canary string) sandbox.Vendor {
				return annatest.New(annatest.Options{
					CompanyHash: canary + "company",
					User:        canary + "user",
					Password:    canary + "password",
					TokenLife:   life,
				})
			},
		},
	})
}

// The fleet logs in at most once per refresh interval of AnnA's tokens.
func TestShortTokens(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, 2*time.Second)
	f.Start(4)
	stop := f.Load(10*time.Millisecond, f.alerts)
	if err := f.anna.WaitEffects(f.limitContext(), annatest.OpToken, 4); err != nil {
		t.Fatal(err)
	}
	ids := stop()
	f.Wait(waitLimit, ids)
	f.CheckDone(ids)

	// A token of 2 s is refreshed at the earliest 1.06 s after its login was sent
	// (internal/tokens). The slack is for the way of the first and the last login.
	logins := f.Arrivals(loginPath)
	span := logins[len(logins)-1].Sub(logins[0]) + 500*time.Millisecond
	if limit := 1 + int(span/(1060*time.Millisecond)); len(logins) > limit {
		t.Errorf("%d logins within %v, at most %d are due", len(logins), span, limit)
	}
	f.StopAll()
	f.CheckSecrets(nil)
}

// When AnnA revokes all tokens under load, the fleet logs in once more, and the
// replay is part of the task's first attempt.
func TestTokensRevokedUnderLoad(t *testing.T) {
	t.Parallel()
	// A 401 does not count against a token that has lived for less than a quarter of
	// its life (internal/tokens).
	const life = 24 * time.Second
	f := newLoginFixture(t, life)
	f.Start(3)
	stopAlerts := f.Load(10*time.Millisecond, f.alerts)
	stopInactivations := f.Load(50*time.Millisecond, f.inactivations)
	ctx := f.limitContext()
	if err := f.anna.WaitEffects(ctx, annatest.OpToken, 1); err != nil {
		t.Fatal(err)
	}
	fleet.Elapse(t, life/4+time.Second)
	f.anna.RevokeTokens()
	if err := f.anna.WaitEffects(ctx, annatest.OpToken, 2); err != nil {
		t.Fatal(err)
	}
	after := f.EnqueueMany(100, f.alerts)
	f.Wait(waitLimit, after)
	ids := append(stopAlerts(), stopInactivations()...)
	ids = append(ids, after...)
	f.Wait(waitLimit, ids)
	f.CheckDone(ids)
	logins := f.Arrivals(loginPath)
	if elapsed := logins[len(logins)-1].Sub(logins[0]); len(logins) > 2 && elapsed < life*2/3 {
		t.Errorf("%d logins within %v, want 2", len(logins), elapsed)
	}
	for i, counted := range f.CountedAttempts(ids) {
		if counted != "1" {
			t.Errorf("%s took %s attempts, want the replay to be part of the first", ids[i], counted)
			break
		}
	}
	f.checkOffboarding(f.ofKind(ids, f.inactivations))
	f.StopAll()
	f.CheckSecrets(nil)
}

// While AnnA refuses the password, the fleet logs in at most twice in the first
// minute, no task spends an attempt, and with the right password all tasks are done.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fleet.Options{})
	ids := append(f.EnqueueMany(100, f.inactivations), f.EnqueueMany(20, f.alerts)...)
	f.Start(4, "ANNA_PASSWORD="+f.Canary+"-wrong")
	f.WaitState(waitLimit, tasks.Parked, ids)
	logins := f.Arrivals(loginPath)
	limit := 1
	if time.Since(logins[0]) > 30*time.Second {
		limit = 2
	}
	if len(logins) > limit {
		t.Errorf("%d logins with a wrong password, at most %d are allowed", len(logins), limit)
	}
	if n := f.inactivations.Calls(); n != 0 {
		t.Errorf("%d inactivations were sent without a token", n)
	}
	for i, counted := range f.CountedAttempts(ids) {
		if counted != "0" {
			t.Errorf("%s spent %s attempts on a wrong password", ids[i], counted)
			break
		}
	}
	f.Fixture.StopAll()
	f.Start(4)
	f.Wait(waitLimit, ids)
	f.CheckDone(ids)
	if n := f.anna.Effects(annatest.OpToken); n != 1 {
		t.Errorf("%d logins with the right password, want 1", n)
	}
	f.checkOffboarding(f.ofKind(ids, f.inactivations))
	f.StopAll()
	f.CheckSecrets(nil)
}

// Neither Redis nor a log reveals users, logins or tokens: after tasks of every kind,
// a declined one, a failure whose message quotes them, a revoked token, and with a
// task whose worker was killed.
func TestRedisRevealsNoSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fleet.Options{})
	worker := f.Start(1)[0]
	ids := []string{
		f.EnqueueNew(f.hashes),
		f.EnqueueNew(f.forcedHashes),
		f.EnqueueNew(f.alerts),
		f.EnqueueNew(f.inactivations),
		f.Enqueue(anna.UserHash{UserID: f.Name("nobody")}),
	}
	f.Wait(waitLimit, ids)
	f.hashes.Inject(sandbox.Fault{
		Times: 1,
		Body:  new(`{"success":false,"message":"` + f.Canary + `"}`),
	})
	ids = append(ids, f.EnqueueNew(f.hashes))
	f.Wait(waitLimit, ids)
	f.anna.RevokeTokens()
	gate := f.inactivations.Hold()
	defer gate.Release()
	f.Check(ids)
	running := f.EnqueueNew(f.inactivations)
	f.WaitState(waitLimit, tasks.Running, []string{running})
	worker.Kill()
	if searched := f.CheckSecrets(append(ids, running)); searched < 4*len(ids) {
		t.Errorf("the dump has only %d texts", searched)
	}
}
