package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

// outage is how long Redis is frozen.
const outage = 10 * time.Second

// loadQueues are the queues of the kinds that loadKinds returns.
func loadQueues() map[string]string {
	return map[string]string{"WORKER_QUEUES": Queues("otp", "danaconnect", "dinero")}
}

// loadKinds are one kind for each way in which a call may be repeated or undone: at
// most once, at least once with an effect, and a read.
func (f *Fixture) loadKinds() []*Kind {
	return []*Kind{f.Passcodes, f.Updates, f.Reads}
}

// warmUp gives every process its tokens and a proven password, and returns the tasks
// that were needed.
func warmUp(f *Fixture, processes []*Process) []string {
	f.tb.Helper()
	ids := f.EnqueueMany(10, f.Passcodes)
	for _, kind := range []*Kind{f.Updates, f.Reads} {
		for _, p := range processes {
			for !p.HasEnded(kind) && len(ids) < 5000 {
				batch := f.EnqueueMany(20, kind)
				f.Wait(waitLimit, batch)
				ids = append(ids, batch...)
			}
		}
	}
	f.Wait(waitLimit, ids)
	f.CheckDone(ids)
	return ids
}

// Calls that are in progress when Redis freezes end normally, and their results are
// not lost.
func TestCallsInProgressSurviveAnOutage(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: loadQueues()})
	warm := warmUp(f, f.Start(2))
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()

	const n = 12
	kinds := []*Kind{f.Passcodes, f.Updates}
	before := map[*Kind]int{}
	gates := map[*Kind]*sandbox.Gate{}
	var ids []string
	for _, kind := range kinds {
		before[kind] = kind.Effects()
		gates[kind] = kind.HoldAnswer()
		defer gates[kind].Release()
		ids = append(ids, f.EnqueueMany(n, kind)...)
	}
	for _, kind := range kinds {
		if err := kind.WaitEffects(ctx, before[kind]+n); err != nil {
			t.Fatal(err)
		}
	}

	f.Redis.Pause()
	end := time.Now().Add(outage)
	for _, kind := range kinds {
		answered := kind.Engine.Answered(kind.Op)
		gates[kind].Release()
		if err := kind.WaitAnswered(ctx, answered+n); err != nil {
			t.Errorf("calls in progress do not end while Redis is frozen: %v", err)
		}
	}
	Elapse(t, time.Until(end))
	f.Redis.Resume()

	f.Wait(waitLimit, ids)
	if report := f.CheckDone(ids); report.Calls != len(ids) {
		t.Errorf("%d calls for %d tasks", report.Calls, len(ids))
	}
	var after []string
	for _, kind := range f.loadKinds() {
		after = append(after, f.EnqueueMany(10, kind)...)
	}
	f.Wait(waitLimit, after)
	f.CheckDone(slices.Concat(warm, ids, after))
	f.StopAll()
}

// Redis freezes while a long queue is being worked on, with tasks at every step and
// producers enqueueing. No worker logs in again, and after the outage every task
// ends with one outcome that agrees with what the vendors saw.
func TestRedisFreezesUnderLoad(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: loadQueues()})
	warm := warmUp(f, f.Start(4))
	dinero := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
	logins := dinero.Calls(dinerotest.OpToken)
	tokens := len(f.Tokens())
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()

	// The vendors are slow, so that the queue is long and calls are in progress.
	backlog := Size(250, 2000)
	var ids []string
	var loads []func() []string
	for _, kind := range f.loadKinds() {
		kind.Inject(sandbox.Fault{Delay: 400 * time.Millisecond})
		ids = append(ids, f.EnqueueMany(backlog, kind)...)
		loads = append(loads, f.Load(10*time.Millisecond, kind))
	}
	if err := f.Passcodes.WaitCalls(ctx, f.Passcodes.Calls()+20); err != nil {
		t.Fatal(err)
	}
	f.Redis.Pause()
	Elapse(t, outage)
	t.Logf("%d of more than %d passcodes were sent before Redis froze", f.Passcodes.Calls()-10, backlog)
	f.Redis.Resume()
	// The producers recover as well.
	if err := f.Updates.WaitCalls(ctx, f.Updates.Calls()+20); err != nil {
		t.Fatal(err)
	}
	for _, stop := range loads {
		ids = append(ids, stop()...)
	}
	f.Wait(3*time.Minute, ids)
	// No worker died, so no task is unknown.
	f.CheckDone(append(ids, warm...))
	if n := dinero.Calls(dinerotest.OpToken); n != logins || len(f.Tokens()) != tokens {
		t.Errorf("the workers logged in during the outage, although their tokens were valid")
	}
	f.StopAll()
	f.CheckSecrets(nil)
}
