package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// A wrong password behind a long queue: a login that fails is tried twice in
// the first minute by the whole fleet, for tokens and for HTTP Basic alike. No
// task spends an attempt on it, and with the right password all are done soon.
func TestWrongSecretsBehindALongQueue(t *testing.T) {
	t.Parallel()
	for _, store := range stores[:Size(1, 2)] {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			s := New(t, Options{Nodes: store.nodes})
			each := Size(400, 5000)
			ids := slices.Concat(s.Many(each, s.SendOTP, tasks.UsableFor(time.Hour)), s.Many(each, s.Inactivate))

			s.Start(8, "DANACONNECT_PASSWORD="+s.Canary+"-wrong", "ANNA_PASSWORD="+s.Canary+"-wrong")
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			for _, first := range []error{
				s.OTP.WaitCalls(ctx, danaconnecttest.OpSend, 1), s.AnnA.WaitCalls(ctx, annatest.OpToken, 1),
			} {
				if first != nil {
					t.Fatal(first)
				}
			}
			minute := time.After(Size(8*time.Second, time.Minute)) // the time that is being shown
			s.Until(3*time.Minute, "parked", ids, func(st *tasks.Status) bool { return st.State == ledger.Parked })
			<-minute

			// The ladder's first step is 30 s, its second 5 min.
			sends, logins := s.Arrivals("/otp/1.0/send"), s.Logins()
			for what, calls := range map[string][]time.Time{"HTTP Basic": sends, "tokens": logins} {
				most := 1
				if time.Since(calls[0]) > 30*time.Second {
					most = 2
				}
				if len(calls) > most {
					t.Errorf(
						"%s: %d calls with the wrong password within %v, at most %d are allowed",
						what,
						len(calls),
						time.Since(calls[0]),
						most,
					)
				}
			}
			if n := s.AnnA.Calls(annatest.OpInactivate); n != 0 {
				t.Errorf("%d inactivations went out without a token", n)
			}
			for i, counted := range s.Counted(ids) {
				if counted != "0" {
					t.Errorf("%s has spent %s attempts on a wrong password", ids[i], counted)
					break
				}
			}
			if entries := s.entries(ids); entries > len(sends) {
				t.Errorf(
					"the histories have %d entries, but only %d tasks got as far as the vendor",
					entries,
					len(sends),
				)
			}
			t.Logf("%d tasks parked, %d calls with HTTP Basic, %d for a token", len(ids), len(sends), len(logins))

			s.StopAll()
			restarted := time.Now()
			s.Start(8)
			s.Wait(90*time.Second, ids)
			t.Logf("all done %v after the restart", time.Since(restarted).Round(time.Second))
			s.CheckDone(ids)
			if n := s.AnnA.Effects(annatest.OpToken); n != 1 {
				t.Errorf("%d logins with the right password, want 1", n)
			}
			s.StopAll()
			s.CheckSecrets(nil)
		})
	}
}

// entries sums up the histories.
func (s *Site) entries(ids []string) int {
	s.tb.Helper()
	counts := make([]int, len(ids))
	each(len(ids), func(i int) {
		if status, err := s.Client.Status(s.tb.Context(), ids[i]); err == nil {
			counts[i] = status.Attempts
		} else {
			s.tb.Error(err)
		}
	})
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}
