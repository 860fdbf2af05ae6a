package faults

import (
	"slices"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// Workers are killed, stopped and frozen under load, before and after the vendor has
// acted: every inactivation and every count of alerts is done, every inactivation is
// confirmed in the audit trail, and no forced hash is run twice.
func TestTasksSurviveTheirWorkers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fleet.Options{Env: fleet.Timeouts(70 * time.Second)})
	f.Start(3)
	f.warmUp()
	kinds := []*fleet.Kind{f.inactivations, f.forcedHashes, f.alerts}
	var stops []func() []string
	for _, kind := range kinds {
		stops = append(stops, f.Load(50*time.Millisecond, kind))
	}
	end := func(p *fleet.Process, hold func(*fleet.Kind) *sandbox.Gate, how func(*fleet.Process)) {
		t.Helper()
		var gates []*sandbox.Gate
		for _, kind := range kinds {
			gates = append(gates, hold(kind))
		}
		release := func() {
			for _, gate := range gates {
				gate.Release()
			}
		}
		defer release()
		f.EnqueueMany(30, f.inactivations)
		// The other workers may take all of them; more come.
		f.WaitOwners(waitLimit, func() []string { return f.ofKind(f.Enqueued(), f.inactivations) }, p)
		how(p)
		release()
	}
	workers := f.Processes()
	end(workers[0], (*fleet.Kind).Hold, (*fleet.Process).Kill)
	f.Start(1)
	end(workers[1], (*fleet.Kind).HoldAnswer, (*fleet.Process).Kill)
	f.Start(1)
	end(workers[2], (*fleet.Kind).HoldAnswer, (*fleet.Process).Terminate)
	frozen := f.Start(1)[0]
	end(frozen, (*fleet.Kind).Hold, (*fleet.Process).Pause)
	// The other workers end what the frozen one had, which then resumes.
	f.Wait(waitLimit, f.Enqueued())
	frozen.Resume()
	for _, stop := range stops {
		stop()
	}
	ids := f.Enqueued()
	f.Wait(2*time.Minute, ids)
	report := f.Check(ids)
	for _, id := range report.Unknown {
		if f.KindOf(id) != f.forcedHashes {
			t.Errorf("%s (%s) is unknown", id, f.KindOf(id).Type)
		}
	}
	if done := report.Outcomes[tasks.Done]; done+len(report.Unknown) != len(ids) {
		t.Errorf("outcomes %v, want done, and unknown of forced hashes", report.Outcomes)
	}
	f.checkOffboarding(f.ofKind(ids, f.inactivations))
	t.Logf("%d tasks: %v", len(ids), report.Outcomes)
	f.StopAll()
}

func (f *fixture) ofKind(ids []string, kind *fleet.Kind) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return f.KindOf(id) != kind })
}

// afterRecovery is when another worker has started what a dead one had: it is
// requeued within 30 s (docs/guarantees.md).
const afterRecovery = 35 * time.Second

// A worker dies with a user's forced hash in progress, and the user's inactivation is
// enqueued behind it: whatever the vendor has done, the user ends inactive. A forced
// hash that was waiting is superseded, and one that comes after the inactivation
// opens the access again.
func TestInactivationPrevailsAfterAKill(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		hold func(*fleet.Kind) *sandbox.Gate
	}{
		{name: "before the effect", hold: (*fleet.Kind).Hold},
		{name: "after the effect", hold: (*fleet.Kind).HoldAnswer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fleet.Options{})
			ctx := f.limitContext()
			victim := f.Start(1)[0]
			user := f.newUser()
			gate := tc.hold(f.forcedHashes)
			defer gate.Release()
			running := f.Enqueue(f.forceHash(user))
			if err := f.forcedHashes.WaitCalls(ctx, 1); err != nil {
				t.Fatal(err)
			}
			waiting := f.Enqueue(f.forceHash(user), tasks.In(afterRecovery))
			inactivation := f.Enqueue(anna.UserInactivate{UserID: user})
			f.Start(1)
			victim.Kill()
			gate.Release()
			f.Wait(waitLimit, []string{running, inactivation, waiting})
			for id, want := range map[string]tasks.Outcome{
				running:      tasks.Unknown,
				inactivation: tasks.Done,
				waiting:      tasks.Superseded,
			} {
				status, err := f.Client.Status(t.Context(), id)
				if err != nil || status.Outcome != want {
					t.Errorf("%s: %+v, %v; want %s", id, status, err, want)
				}
			}
			f.checkOffboarding([]string{inactivation})
			rehire := f.Enqueue(f.forceHash(user))
			f.Wait(waitLimit, []string{rehire})
			if !f.anna.Active(user) {
				t.Error("a forced hash after the inactivation does not open the access")
			}
			f.Check([]string{running, inactivation, waiting, rehire})
			f.StopAll()
		})
	}
}

// Redis freezes, is stopped and crashes while inactivations are in progress. Calls in
// progress end with their first attempt, and every inactivation is confirmed.
func TestInactivationsSurviveRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fleet.Options{Redis: []redistest.Option{redistest.AOF("always")}})
	f.Start(2)
	f.warmUp()
	ctx := f.limitContext()
	logins := len(f.Arrivals(loginPath))
	for _, outage := range []struct {
		name    string
		down    func()
		recover func()
	}{
		{"frozen", f.Redis.Pause, f.Redis.Resume},
		{"stopped", f.Redis.Stop, f.Redis.Start},
		{"crashed", f.Redis.Kill, f.Redis.Start},
	} {
		const n = 8
		effects := f.inactivations.Effects()
		answered := f.inactivations.Engine.Answered(f.inactivations.Op)
		gate := f.inactivations.HoldAnswer()
		defer gate.Release()
		ids := f.EnqueueMany(n, f.inactivations)
		if err := f.inactivations.WaitEffects(ctx, effects+n); err != nil {
			t.Fatal(err)
		}
		outage.down()
		gate.Release()
		if err := f.inactivations.WaitAnswered(ctx, answered+n); err != nil {
			t.Errorf("%s: calls in progress do not end: %v", outage.name, err)
		}
		fleet.Elapse(t, 5*time.Second)
		outage.recover()
		after := append(f.EnqueueMany(10, f.inactivations), f.EnqueueMany(10, f.alerts)...)
		f.Wait(waitLimit, slices.Concat(ids, after))
		if report := f.CheckDone(ids); report.Calls != n {
			t.Errorf("%s: %d calls for %d inactivations", outage.name, report.Calls, n)
		}
		f.CheckDone(after)
	}
	f.checkOffboarding(f.ofKind(f.Enqueued(), f.inactivations))
	if n := len(f.Arrivals(loginPath)); n != logins {
		t.Errorf("%d logins during the outages, although the token was valid", n-logins)
	}
	f.StopAll()
}
