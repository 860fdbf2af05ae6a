package doctor_test

import (
	"testing"
	"time"

	"errand.internal/internal/operator"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// What has ended archived is told by kind: how many, what the vendor said, and what says
// more. What was replayed is told no more.
func TestDoctorTellsOfDeadLetters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.Start(t)
	wrong := otpFor("ana@example.com")
	wrong.IDConversation = 1
	var last string
	for range 3 {
		ticket, err := tasks.Enqueue(t.Context(), w.Client, wrong)
		if err != nil {
			t.Fatal(err)
		}
		last = ticket.ID
		testwait.Eventually(t, time.Minute, "it is invalid", func() bool {
			status, err := w.Client.Status(t.Context(), last)
			return err == nil && status.Outcome == tasks.Invalid
		})
	}
	runDoctor(t, f.Environ).want(t, "warn", "dead letters otp",
		"3 danaconnect:otp:send ended invalid in the last hour, code 10: danaconnect otp send: "+
			"idConversation is wrong; a conversation that was activated again has a new one",
		"worker explain "+last+" says what to do about the latest; all: worker dead-letters list "+
			"--type danaconnect:otp:send --outcome invalid --since 1h")
	o, err := operator.Open(t.Context(), f.Environ)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	order := operator.ReplayOrder{IDs: []string{last}, Reason: "a test"}
	if _, err := o.Replay(t.Context(), order, func(operator.Replayed) error { return nil }); err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, time.Minute, "the replayed one is left out, and its replay is there", func() bool {
		r := runDoctor(t, f.Environ)
		return r.has("warn", "dead letters otp", "3 danaconnect:otp:send ended invalid") &&
			!r.has("warn", "dead letters otp", "", "worker explain "+last)
	})
}
