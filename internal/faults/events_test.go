package faults

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/internal/fleet"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// deliveryLimit is how long after the receiver recovers all events have arrived.
const deliveryLimit = time.Minute

// The receiver accepts no events for a while, in one way or another, while tasks end.
// After it recovers every event arrives, the same in each try, with a valid
// signature, and no other event arrives. During the outage each event is tried once;
// after that the receiver is only probed.
func TestReceiverOutage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		failure http.HandlerFunc // nil: the receiver refuses connections
	}{
		{name: "down"},
		{name: "answering 500", failure: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		}},
		{name: "slow", failure: func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done() // for longer than a worker waits
		}},
		{name: "redirecting", failure: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			receiver := newReceiver(t)
			receiver.setFailure(tc.failure)
			if tc.failure != nil {
				receiver.listen()
			}
			f := fleet.New(t, fleet.Options{Env: receiver.settings()})
			f.Start(2)
			proven := f.EnqueueNew(f.Passcodes) // proves the password
			f.Wait(waitLimit, []string{proven})

			stop := f.Load(100*time.Millisecond, f.Passcodes, tasks.Notify())
			fleet.Elapse(t, fleet.Size(4*time.Second, time.Minute)) // the length of the outage
			done := stop()
			f.Wait(waitLimit, done)
			f.Passcodes.Inject(noSuchConversation)
			dead := f.EnqueueMany(10, f.Passcodes)
			both := f.EnqueueMany(10, f.Passcodes, tasks.Notify())
			f.Wait(waitLimit, slices.Concat(dead, both))

			if tc.failure == nil {
				receiver.listen()
			}
			during, _ := receiver.requests()
			receiver.setFailure(nil)
			recovered := time.Now()
			var want []string
			for _, id := range slices.Concat(done, both) {
				want = append(want, "evt_finished_"+id)
			}
			for _, id := range slices.Concat(dead, both) {
				want = append(want, "evt_dead_"+id)
			}
			if !testwait.Poll(deliveryLimit, func() bool { return len(receiver.missing(want)) == 0 }) {
				t.Errorf(
					"%v after the receiver recovered, %d of %d events are missing",
					deliveryLimit,
					len(receiver.missing(want)),
					len(want),
				)
			}
			took := time.Since(recovered)
			if fleet.Long() {
				f.Quiet(fleet.QuietPhase, f.Passcodes)
			}
			f.StopAll()
			f.CheckSecrets(nil)

			all, perEvent := receiver.requests()
			t.Logf(
				"%d events, all accepted %v after the receiver recovered; "+
					"%d requests before that, %d in all, at most %d for one event",
				len(want),
				took.Round(100*time.Millisecond),
				during,
				all,
				perEvent,
			)
			for id, body := range receiver.bodies {
				if !slices.Contains(want, id) {
					t.Errorf("unexpected event %s %s", id, body)
				}
			}
			if receiver.misrouted > 0 {
				t.Errorf("a redirect was followed %d times", receiver.misrouted)
			}
			if limit := len(want) + 20; during > limit { // each event once, and probes
				t.Errorf("the receiver got %d requests during its outage, want at most %d", during, limit)
			}
		})
	}
}

// A worker is killed after it has ended a task as a dead letter and before it has
// published that. Another worker publishes it.
func TestKilledBeforePublishing(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t)
	receiver.listen()
	h := newHarness(t, fleet.Options{Env: receiver.settings()})
	victim := h.startWorkers(1)[0]
	h.Wait(waitLimit, []string{h.EnqueueNew(h.Passcodes)})
	h.Passcodes.Inject(noSuchConversation)
	publishing := victim.proxy.hold(enqueue, beforeRedis) // an event is a task
	id := h.EnqueueNew(h.Passcodes)
	if err := publishing.wait(limitContext(t), func(held map[string]int) bool {
		return len(held) > 0
	}); err != nil {
		t.Fatal(err)
	}
	h.Wait(waitLimit, []string{id})
	victim.Kill()
	publishing.drop()
	if n := len(h.Conn().Keys(t.Context(), "errand:{events}:task:*").Val()); n != 0 {
		t.Fatalf("%d events are in the queue: the kill came too late", n)
	}
	h.startWorkers(1)
	want := []string{"evt_dead_" + id}
	testwait.Eventually(t, waitLimit, "the event of the dead task", func() bool {
		return len(receiver.missing(want)) == 0
	})
	h.finish(waitLimit, tasks.Done, tasks.Invalid)
	h.StopAll()
}
