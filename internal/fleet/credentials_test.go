package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
)

// While a login is refused, the whole fleet tries it at most twice in the first
// minute, for tokens and for HTTP Basic alike. No task spends an attempt on it, and
// with the right credentials all tasks are done soon.
func TestWrongCredentialsBehindALongQueue(t *testing.T) {
	t.Parallel()
	for _, kind := range redisKinds[:Size(1, 2)] {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			f := New(t, Options{
				Nodes: kind.nodes,
				Env:   map[string]string{"WORKER_QUEUES": Queues("otp", "dinero")},
			})
			dinero := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
			n := Size(400, 5000)
			ids := slices.Concat(
				f.EnqueueMany(n, f.Passcodes, tasks.UsableFor(time.Hour)),
				f.EnqueueMany(n, f.Invoices),
			)

			f.Start(
				8,
				"DANACONNECT_PASSWORD="+f.Canary+"-wrong",
				"DINERO_CLIENT_SECRET="+f.Canary+"-wrong",
			)
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			if err := f.Passcodes.WaitCalls(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if err := dinero.WaitCalls(ctx, dinerotest.OpToken, 1); err != nil {
				t.Fatal(err)
			}
			observed := time.Now().Add(Size(8*time.Second, time.Minute))
			f.WaitState(3*time.Minute, tasks.Parked, ids)
			Elapse(t, time.Until(observed))

			// The second login comes 30 s after the first, the third 5 min later, but that of
			// passcodes a minute later.
			sends := f.Arrivals("/otp/1.0/send")
			logins := f.Arrivals("/" + dinerotest.TokenPath)
			for what, calls := range map[string][]time.Time{"HTTP Basic": sends, "tokens": logins} {
				limit := 1
				if time.Since(calls[0]) > 30*time.Second {
					limit = 2
				}
				if what == "HTTP Basic" && time.Since(calls[0]) > 90*time.Second {
					limit = 3
				}
				if len(calls) > limit {
					t.Errorf(
						"%s: %d calls with wrong credentials within %v, at most %d are allowed",
						what,
						len(calls),
						time.Since(calls[0]),
						limit,
					)
				}
			}
			if n := f.Invoices.Calls(); n != 0 {
				t.Errorf("%d invoices were sent without a token", n)
			}
			for i, counted := range f.CountedAttempts(ids) {
				if counted != "0" {
					t.Errorf("%s spent %s attempts on wrong credentials", ids[i], counted)
					break
				}
			}
			if entries := f.historyEntries(ids); entries > len(sends) {
				t.Errorf(
					"the histories have %d entries, but only %d tasks reached the vendor",
					entries,
					len(sends),
				)
			}
			t.Logf(
				"%d tasks parked, %d calls with HTTP Basic, %d for a token",
				len(ids),
				len(sends),
				len(logins),
			)

			f.StopAll()
			restarted := time.Now()
			f.Start(8)
			f.Wait(90*time.Second, ids)
			t.Logf("all done %v after the restart", time.Since(restarted).Round(time.Second))
			f.CheckDone(ids)
			if n := dinero.Effects(dinerotest.OpToken); n != 1 {
				t.Errorf("%d logins with the right secret, want 1", n)
			}
			f.StopAll()
			f.CheckSecrets(nil)
		})
	}
}

// historyEntries adds up the entries of all histories.
func (f *Fixture) historyEntries(ids []string) int {
	f.tb.Helper()
	counts := make([]int, len(ids))
	Parallel(len(ids), func(i int) {
		status, err := f.Client.Status(f.tb.Context(), ids[i])
		if err != nil {
			f.tb.Error(err)
			return
		}
		counts[i] = status.Attempts
	})
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}
