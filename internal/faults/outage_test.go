package faults

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// outageFixture is a fleet whose vendor can be in trouble, with tasks of one account that
// may be repeated (Updates) and that must not be (starts).
type outageFixture struct {
	*fleet.Fixture
	t      *testing.T
	starts *fleet.Kind
	// slots are what the fleet calls at once.
	slots int
}

func newOutageFixture(t *testing.T, workers int) *outageFixture {
	t.Helper()
	f := &outageFixture{
		Fixture: fleet.New(t, fleet.Options{Env: map[string]string{"WORKER_QUEUES": "danaconnect=8"}}),
		t:       t,
		slots:   8 * workers,
	}
	f.starts = f.AddKind(&fleet.Kind{
		Type:   danaconnect.ConversationStart{}.Type(),
		Engine: f.Updates.Engine,
		Op:     danaconnecttest.OpStart,
		New: func() tasks.Payload {
			return danaconnect.ConversationStart{
				IDConversation: tasks.ID("824541"),
				Data:           danaconnect.Fields{"COD1_EMAIL": f.Name("person") + "@example.com"},
			}
		},
		Subject: func(_ string, p tasks.Payload) string {
			return p.(danaconnect.ConversationStart).Data["COD1_EMAIL"].(string)
		},
	})
	f.Start(workers)
	// The workers have their tokens, and the breaker many good answers.
	f.Wait(waitLimit, f.EnqueueMany(20*workers, f.Updates))
	return f
}

func (f *outageFixture) calls() int {
	return f.Updates.Calls() + f.starts.Calls()
}

// inject breaks every call until heal.
func (f *outageFixture) inject(fault sandbox.Fault) {
	f.Updates.Inject(fault)
	f.starts.Inject(fault)
}

func (f *outageFixture) heal() {
	f.Updates.Engine.Clear(f.Updates.Op)
	f.Updates.Engine.Clear(f.starts.Op)
}

// arrivals collects when calls arrive, until stop returns them in order.
func (f *outageFixture) arrivals() (stop func() []time.Time) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var mu sync.Mutex
	var at []time.Time
	var collecting sync.WaitGroup
	for _, kind := range []*fleet.Kind{f.Updates, f.starts} {
		n := kind.Calls()
		collecting.Go(func() {
			for kind.WaitCalls(ctx, n+1) == nil {
				now := time.Now()
				mu.Lock()
				for ; n < kind.Calls(); n++ {
					at = append(at, now)
				}
				mu.Unlock()
			}
		})
	}
	return func() []time.Time {
		cancel()
		collecting.Wait()
		slices.SortFunc(at, time.Time.Compare)
		return at
	}
}

// A vendor that answers 503, or drops every connection, gets the calls that are under way
// and about one every ten seconds. Afterwards calls come back slowly, and every task ends as
// it should: nothing is lost, and waiting costs no attempt.
func TestAVendorInTroubleIsLeftInPeace(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sandbox.Fault{
		"503":     {Status: 503},
		"dropped": {Drop: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newOutageFixture(t, fleet.Size(2, 4))
			before := f.calls()
			f.inject(fault)
			// Every slot has a call that is going to fail, and the queue is full.
			gate := f.Updates.Hold()
			defer gate.Release()
			updates := f.EnqueueMany(fleet.Size(100, 1000), f.Updates)
			starts := f.EnqueueMany(fleet.Size(10, 100), f.starts)
			if err := f.Updates.WaitCalls(t.Context(), before+f.slots); err != nil {
				t.Fatal(err)
			}
			gate.Release()
			fleet.Elapse(t, fleet.Size(6*time.Second, time.Minute))
			during := f.calls() - before
			arrivals := f.arrivals()
			f.heal()
			healed := time.Now()
			f.Wait(time.Minute, slices.Concat(updates, starts))
			recovered := time.Since(healed)
			at := arrivals()
			t.Logf("%d calls during the outage; all ended %s after it", during, recovered.Round(time.Millisecond))
			if limit := f.slots + 30; during > limit {
				t.Errorf("%d calls during the outage, want %d at the most", during, limit)
			}
			second := slices.IndexFunc(at, func(a time.Time) bool { return a.After(at[0].Add(time.Second)) })
			if second < 0 || second > 2 {
				t.Errorf("the third call after the outage is not a second after the first: %v", at[:min(len(at), 5)])
			}
			if n := f.alerts("account.open"); n != 1 {
				t.Errorf("the breaker opened %d times, want once", n)
			}
			f.checkOutcomes(updates, starts, during)
			f.StopAll()
		})
	}
}

// alerts counts the alerts of all workers whose name begins so.
func (f *outageFixture) alerts(name string) (n int) {
	for _, p := range f.Processes() {
		n += strings.Count(p.Log(), `"alert":"`+name)
	}
	return n
}

// checkOutcomes checks how the tasks of an outage ended.
func (f *outageFixture) checkOutcomes(updates, starts []string, during int) {
	f.t.Helper()
	waited := 0
	for _, id := range slices.Concat(updates, starts) {
		status, err := f.Client.Status(f.t.Context(), id)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(status.History) == 1 {
			waited++
		}
		if status.Outcome == tasks.Done || status.Outcome == tasks.Unknown && f.KindOf(id) == f.starts && f.Arrived(id) {
			continue
		}
		f.t.Errorf("%s ended %s after %d calls", id, status.Outcome, f.CallsOf(id))
	}
	if least := len(updates) + len(starts) - during; waited < least {
		f.t.Errorf("%d tasks have one attempt, want %d: waiting costs none", waited, least)
	}
	if calls := f.starts.Calls(); calls != len(starts) {
		f.t.Errorf("%d calls for %d tasks that must not be repeated", calls, len(starts))
	}
}

// A vendor that fails every second call stays in use: the breaker does not flap, and what
// the healthy half can do gets done.
func TestAVendorThatFailsHalfTheTimeStaysInUse(t *testing.T) {
	t.Parallel()
	const answer = 500 * time.Millisecond // of the vendor: 32 calls a second, so that no machine is the limit
	f := newOutageFixture(t, 2)
	lasts := fleet.Size(8*time.Second, 5*time.Minute)
	most := f.slots * int(lasts/answer) // calls
	for n := range most {
		// A call that fails is not one that a later fault lets pass, so each counts one more.
		f.Updates.Inject(sandbox.Fault{
			Status: 503,
			Delay:  answer,
			Times:  1,
			Skip:   n + 1,
		})
	}
	f.Updates.Inject(sandbox.Fault{Delay: answer})
	ids := f.EnqueueMany(most, f.Updates)
	calls, done := f.Updates.Calls(), f.Updates.Effects()
	began := time.Now()
	fleet.Elapse(t, lasts)
	calls = f.Updates.Calls() - calls
	done = f.Updates.Effects() - done
	took := time.Since(began)
	half := f.slots * int(took/answer) / 2
	changes := f.alerts("account.")
	t.Logf("%d calls, %d done in %s, of %d that the healthy half can do; %d changes", calls, done, took, half, changes)
	if done*100 < half*40 {
		t.Errorf("%d done in %s, want 40 %% of %d", done, took, half)
	}
	if calls-done < calls/3 {
		t.Errorf("%d of %d calls failed, want about half", calls-done, calls)
	}
	if limit := 3 * max(1, int(took/time.Minute)); changes > limit {
		t.Errorf("the breaker changed %d times in %s", changes, took)
	}
	f.heal()
	f.Wait(waitLimit, ids)
	f.StopAll()
}
