package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
)

// Ten processes, tokens of two seconds, reads all the time: one login per
// refresh interval at the most, and every read is done.
func TestTenProcessesWithShortTokens(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			s := New(t, Options{
				Nodes: store.nodes, AnnA: annatest.Options{TokenLife: 2 * time.Second},
				Env: map[string]string{"WORKER_QUEUES": "polls=4"},
			})
			s.Start(10)
			stop := s.Load(10*time.Millisecond, s.ReadAlerts)
			<-time.After(10 * time.Second) // the load's length, not a wait for something
			ids := stop()
			s.Wait(soon, ids)
			s.CheckDone(ids)

			// A token is due for refresh 1.06 s after its login was sent, at the
			// earliest (internal/tokens: hard at 3/4 of the life, soft at most 22 % of
			// it before). How long first and last were on their way is the slack.
			logins := s.Logins()
			span := logins[len(logins)-1].Sub(logins[0]) + 500*time.Millisecond
			if most := 1 + int(span/(1060*time.Millisecond)); len(logins) > most {
				t.Errorf("%d logins within %v, at most %d are due", len(logins), span, most)
			}
			if len(logins) < 3 || len(ids) < 100 {
				t.Errorf("%d logins and %d reads prove little", len(logins), len(ids))
			}
			for _, p := range s.Processes() {
				if !p.Finished("anna:messenger:alerts") {
					t.Errorf("%s has done nothing", p.Name)
				}
			}
			t.Logf("%d reads, %d logins in %v", len(ids), len(logins), span)
			s.StopAll()
			s.CheckSecrets(nil)
		})
	}
}

// The process that is logging in is killed: a second login, and nobody is left
// without a token.
func TestKilledWhileLoggingIn(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			s := New(
				t,
				Options{Nodes: store.nodes, Env: map[string]string{"ANNA_TIMEOUT": "3s", "WORKER_QUEUES": "polls=2"}},
			)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			gate := s.AnnA.Hold(annatest.OpToken)
			t.Cleanup(gate.Release)

			// The first process is alone, so that it is the one whose login is held.
			victim := s.Start(1)[0]
			ids := []string{s.ReadAlerts()}
			if err := s.AnnA.WaitCalls(ctx, annatest.OpToken, 1); err != nil {
				t.Fatal(err)
			}
			others := s.Start(3)
			ids = append(ids, s.Many(30, s.ReadAlerts)...)
			s.WaitHolders(soon, ids, others...) // each has a task in hand, and waits for the token
			victim.Kill()
			if err := s.AnnA.WaitAnswered(ctx, annatest.OpToken, 1); err != nil {
				t.Fatal(err) // dropped, and so without effect
			}
			gate.Release()

			s.Wait(soon, ids) // those of the dead process, too
			s.CheckDone(ids)
			if calls, effects := s.LoginCalls(), s.AnnA.Effects(annatest.OpToken); calls > 2 || effects != 1 {
				t.Errorf("%d logins were tried and %d succeeded, want at most 2 and 1", calls, effects)
			}
			s.StopAll()
		})
	}
}

// The vendor forgets all tokens while everybody uses them: one more login, and
// nobody notices.
func TestRevokedUnderLoad(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			// A 401 on a token of less than a quarter of its life is not the token's
			// fault (internal/tokens); after two thirds of it it is renewed anyway.
			const life, between, renewed = 24 * time.Second, 7 * time.Second, 16 * time.Second
			revocations := Size(1, 5)
			s := New(t, Options{
				Nodes: store.nodes, AnnA: annatest.Options{TokenLife: life}, Env: map[string]string{"WORKER_QUEUES": "polls=4,anna=2"},
			})
			s.Start(4)
			stopReads, stopLeavers := s.Load(
				10*time.Millisecond,
				s.ReadAlerts,
			), s.Load(
				50*time.Millisecond,
				s.Inactivate,
			)
			ctx, cancel := context.WithTimeout(t.Context(), soon+time.Duration(revocations)*life)
			defer cancel()
			for n := 1; n <= revocations; n++ {
				if err := s.AnnA.WaitEffects(ctx, annatest.OpToken, n); err != nil {
					t.Fatal(err)
				}
				<-time.After(between) // the token comes of age
				s.RevokeTokens()
			}
			if err := s.AnnA.WaitEffects(ctx, annatest.OpToken, revocations+1); err != nil {
				t.Fatal(err)
			}
			// All processes have met the new token when each has done something since.
			after := s.Many(100, s.ReadAlerts)
			s.Wait(soon, after)
			ids := slices.Concat(stopReads(), stopLeavers(), after)
			s.Wait(soon, ids)
			report := s.CheckDone(ids)
			logins := s.Logins()
			extra := len(logins) - 1
			for i := range logins[1:] {
				if logins[i+1].Sub(logins[i]) > renewed { // on a slow machine
					extra--
				}
			}
			if extra > revocations {
				t.Errorf("%d logins more than the first and the renewals, after %d revocations", extra, revocations)
			}
			t.Logf("%d tasks, %d entries in their histories, %d logins", len(ids), report.Calls, len(logins))
			for i, counted := range s.Counted(ids) {
				if counted != "1" {
					t.Errorf("%s took %s attempts, want the replay to be part of the first", ids[i], counted)
					break
				}
			}
			s.StopAll()
			s.CheckSecrets(nil)
		})
	}
}
