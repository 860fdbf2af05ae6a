package faults

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// deliveredWithin is how long after the receiver is back every event is there.
const deliveredWithin = time.Minute

// The receiver takes nothing for a while, in one way or
// another, while tasks end all the time. Every event arrives once it is back, the
// same in each try, with a valid signature; nothing else arrives. Meanwhile each
// is tried once, and then the receiver is asked now and then only.
func TestAReceiverThatTakesNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc // nil: it is down, and refuses connections
	}{
		{"down", nil},
		{"answering 500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, // for longer than a worker waits
		{"redirecting", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := newInbox(t)
			in.answers(tc.answer)
			if tc.answer != nil {
				in.open()
			}
			s := fleet.New(t, fleet.Options{Env: in.settings()})
			s.Start(2)
			proven := s.SendOTP() // a password that works
			s.Wait(soon, []string{proven})

			stop := s.Load(100*time.Millisecond, s.SendOTP, tasks.Notify())
			<-time.After(fleet.Size(4*time.Second, time.Minute)) // the length of the outage
			ends := stop()
			s.Wait(soon, ends)
			s.OTP.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Code: "10"}) // no such conversation
			dead := s.Many(10, s.SendOTP)
			both := s.Many(10, s.SendOTP, tasks.Notify())
			s.Wait(soon, slices.Concat(dead, both))

			if tc.answer == nil {
				in.open()
			}
			before, _ := in.requests()
			in.answers(nil)
			back := time.Now()
			var want []string
			for _, id := range slices.Concat(ends, both) {
				want = append(want, "evt_finished_"+id)
			}
			for _, id := range slices.Concat(dead, both) {
				want = append(want, "evt_dead_"+id)
			}
			if !until(t, deliveredWithin, func() bool { return len(in.missing(want)) == 0 }) {
				t.Errorf(
					"%v after it is back, %d of %d events are missing",
					deliveredWithin,
					len(in.missing(want)),
					len(want),
				)
			}
			took := time.Since(back)
			s.StopAll()
			s.CheckSecrets(nil)

			all, most := in.requests()
			t.Logf(
				"%d events, all taken %v after the receiver is back; requests before that: %d, in all %d, at most %d for one event",
				len(want),
				took.Round(100*time.Millisecond),
				before,
				all,
				most,
			)
			for id, body := range in.bodies {
				if !slices.Contains(want, id) {
					t.Errorf("nobody expects %s %s", id, body)
				}
			}
			if in.strays > 0 {
				t.Errorf("a redirect was followed %d times", in.strays)
			}
			if patience := len(want) + 20; before > patience { // each once, and one of them now and then
				t.Errorf("the receiver was asked %d times while it took nothing, want at most %d", before, patience)
			}
		})
	}
}

// A worker dies when it has ended a task as a dead letter, and before anybody
// has heard of that. Another one tells.
func TestAKilledWorkersLastWords(t *testing.T) {
	t.Parallel()
	in := newInbox(t)
	in.open()
	c := newCrew(t, fleet.Options{Env: in.settings()})
	dies := c.hire(1)[0]
	c.Wait(soon, []string{c.send()})
	c.OTP.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Code: "10"}) // no such conversation
	silent := dies.link.hold(create, false, other)                      // it publishes by creating a task
	id := c.send()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := silent.wait(ctx, func(held map[string]int, _ []string) bool { return len(held) > 0 }); err != nil {
		t.Fatal(err)
	}
	c.Wait(soon, []string{id})
	dies.Kill()
	silent.lose()
	if n := len(c.Conn().Keys(t.Context(), "errand:{events}:task:*").Val()); n != 0 {
		t.Fatalf("%d events are in the queue: the test has shown nothing", n)
	}
	c.hire(1)
	want := []string{"evt_dead_" + id}
	c.await(soon, "the event of the dead task", func() bool { return len(in.missing(want)) == 0 })
	c.finish(soon, tasks.Done, tasks.Invalid)
	c.StopAll()
}
