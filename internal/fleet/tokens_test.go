package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

// newTokenFixture returns a fixture whose Dinero issues tokens of the given life.
func newTokenFixture(t *testing.T, nodes int, life time.Duration, env map[string]string) *Fixture {
	t.Helper()
	return New(t, Options{
		Nodes: nodes,
		Env:   env,
		Sandboxes: []func(canary string) sandbox.Vendor{
			Dinero(dinerotest.Options{TokenLife: life}, 1),
		},
	})
}

// Ten processes use tokens of two seconds without a pause: the fleet logs in at most
// once per refresh interval, and every task is done.
func TestTenProcessesWithShortTokens(t *testing.T) {
	t.Parallel()
	for _, kind := range redisKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			f := newTokenFixture(t, kind.nodes, 2*time.Second, map[string]string{"WORKER_QUEUES": "dinero=4"})
			dinero := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
			f.Start(10)
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			stop := f.Load(10*time.Millisecond, f.Reads)
			if err := dinero.WaitEffects(ctx, dinerotest.OpToken, 6); err != nil {
				t.Fatal(err)
			}
			ids := stop()
			f.Wait(waitLimit, ids)
			f.CheckDone(ids)

			// A token is refreshed at the earliest 1.06 s after its login was sent
			// (internal/tokens: a login is due after 3/4 of the life, or up to 22 % of
			// the life earlier). The slack is for the way of the first and the last.
			logins := f.Arrivals("/" + dinerotest.TokenPath)
			span := logins[len(logins)-1].Sub(logins[0]) + 500*time.Millisecond
			if limit := 1 + int(span/(1060*time.Millisecond)); len(logins) > limit {
				t.Errorf("%d logins within %v, at most %d are due", len(logins), span, limit)
			}
			if len(ids) < 100 {
				t.Errorf("%d reads prove little", len(ids))
			}
			for _, p := range f.Processes() {
				if !p.HasEnded(f.Reads) {
					t.Errorf("%s has run no task", p.Name)
				}
			}
			t.Logf("%d reads, %d logins in %v", len(ids), len(logins), span)
			f.StopAll()
			f.CheckSecrets(nil)
		})
	}
}

// When the process that is logging in is killed, another one logs in, and no process
// is left without a token.
func TestKilledDuringLogin(t *testing.T) {
	t.Parallel()
	for _, kind := range redisKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			env := Timeouts(12 * time.Second) // in which the others start, on a busy machine too
			env["WORKER_QUEUES"] = "dinero=2"
			f := newTokenFixture(t, kind.nodes, time.Hour, env)
			dinero := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			gate := dinero.Hold(dinerotest.OpToken)
			t.Cleanup(gate.Release)

			// The first process is alone, so the held login is its own.
			victim := f.Start(1)[0]
			ids := []string{f.EnqueueNew(f.Reads)}
			if err := dinero.WaitCalls(ctx, dinerotest.OpToken, 1); err != nil {
				t.Fatal(err)
			}
			others := f.Start(3)
			ids = append(ids, f.EnqueueMany(30, f.Reads)...)
			f.WaitOwners(waitLimit, func() []string { return ids }, others...) // each has a task that waits for the token
			victim.Kill()
			if err := dinero.WaitAnswered(ctx, dinerotest.OpToken, 1); err != nil {
				t.Fatal(err) // the vendor drops the login without effect
			}
			gate.Release()

			f.Wait(waitLimit, ids) // including those of the dead process
			f.CheckDone(ids)
			calls := dinero.Calls(dinerotest.OpToken)
			effects := dinero.Effects(dinerotest.OpToken)
			if calls > 2 || effects != 1 {
				t.Errorf("%d logins, %d of them successful; want at most 2 and 1", calls, effects)
			}
			f.StopAll()
		})
	}
}

// When the vendor revokes all tokens under load, the fleet logs in once more, and
// the replay is part of the task's first attempt.
func TestTokensRevokedUnderLoad(t *testing.T) {
	t.Parallel()
	for _, kind := range redisKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			// A 401 does not count against a token that has lived for less than a quarter
			// of its life (internal/tokens); after two thirds it is renewed anyway.
			const life = 24 * time.Second
			const beforeRevocation = 7 * time.Second
			const renewedAfter = 16 * time.Second
			revocations := Size(1, 5)
			f := newTokenFixture(t, kind.nodes, life, map[string]string{"WORKER_QUEUES": "dinero=4"})
			dinero := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
			f.Start(4)
			stopReads := f.Load(10*time.Millisecond, f.Reads)
			stopWrites := f.Load(50*time.Millisecond, f.Invoices)
			limit := waitLimit + time.Duration(revocations)*life
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			for n := 1; n <= revocations; n++ {
				if err := dinero.WaitEffects(ctx, dinerotest.OpToken, n); err != nil {
					t.Fatal(err)
				}
				Elapse(t, beforeRevocation) // the token grows old enough
				dinero.RevokeTokens()
			}
			if err := dinero.WaitEffects(ctx, dinerotest.OpToken, revocations+1); err != nil {
				t.Fatal(err)
			}
			// Every process runs a task with the new token.
			after := f.EnqueueMany(100, f.Reads)
			f.Wait(waitLimit, after)
			ids := slices.Concat(stopReads(), stopWrites(), after)
			f.Wait(waitLimit, ids)
			report := f.CheckDone(ids)
			logins := f.Arrivals("/" + dinerotest.TokenPath)
			extra := len(logins) - 1
			for i := range logins[1:] {
				if logins[i+1].Sub(logins[i]) > renewedAfter { // on a slow machine
					extra--
				}
			}
			if extra > revocations {
				t.Errorf(
					"%d logins besides the first and the renewals, after %d revocations",
					extra,
					revocations,
				)
			}
			t.Logf("%d tasks, %d entries in their histories, %d logins", len(ids), report.Calls, len(logins))
			for i, counted := range f.CountedAttempts(ids) {
				if counted != "1" {
					t.Errorf("%s took %s attempts, want the replay to be part of the first", ids[i], counted)
					break
				}
			}
			f.StopAll()
			f.CheckSecrets(nil)
		})
	}
}
