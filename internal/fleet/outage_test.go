package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
)

// outage is how long Redis stands still.
const outage = 10 * time.Second

// warmUp gives every process a token and a proven password.
func warmUp(s *Site, processes []*Process) []string {
	s.tb.Helper()
	ids := s.Many(10, s.SendOTP)
	for _, p := range processes {
		for !p.Finished("anna:messenger:alerts") && len(ids) < 5000 {
			batch := s.Many(20, s.ReadAlerts)
			s.Wait(soon, batch)
			ids = append(ids, batch...)
		}
	}
	s.Wait(soon, ids)
	s.CheckDone(ids)
	return ids
}

// Redis stands still while calls are under way: they end well, and what they
// did is not forgotten.
func TestCallsUnderWayOutliveAnOutage(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	warm := warmUp(s, s.Start(2))
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()

	const n = 12
	ops := []struct {
		op      string
		wait    func(context.Context, string, int) error
		had     int
		release func()
	}{
		{
			op:      danaconnecttest.OpSend,
			wait:    s.OTP.WaitAnswered,
			had:     s.OTP.Answered(danaconnecttest.OpSend),
			release: s.OTP.HoldAnswer(danaconnecttest.OpSend).Release,
		},
		{
			op:      annatest.OpInactivate,
			wait:    s.AnnA.WaitAnswered,
			release: s.AnnA.HoldAnswer(annatest.OpInactivate).Release,
		},
	}
	ids := slices.Concat(s.Many(n, s.SendOTP), s.Many(n, s.Inactivate))
	if err := s.OTP.WaitEffects(ctx, danaconnecttest.OpSend, ops[0].had+n); err != nil {
		t.Fatal(err)
	}
	if err := s.AnnA.WaitEffects(ctx, annatest.OpInactivate, n); err != nil {
		t.Fatal(err)
	}

	s.Redis.Pause()
	back := time.After(outage)
	for _, o := range ops {
		o.release()
		if err := o.wait(ctx, o.op, o.had+n); err != nil {
			t.Errorf("calls under way do not end while Redis stands still: %v", err)
		}
	}
	<-back
	s.Redis.Resume()

	s.Wait(soon, ids)
	if report := s.CheckDone(ids); report.Calls != len(ids) {
		t.Errorf("%d calls for %d tasks", report.Calls, len(ids))
	}
	after := slices.Concat(s.Many(10, s.SendOTP), s.Many(10, s.Inactivate), s.Many(10, s.ReadAlerts))
	s.Wait(soon, after)
	s.CheckDone(slices.Concat(warm, ids, after))
	s.StopAll()
}

// Redis stands still in the midst of a long queue, with every step of a task
// just being taken by somebody, and producers at work: nobody logs in again, and
// when Redis is back every task ends with one outcome that agrees with what the
// vendors saw.
func TestRedisStandsStillUnderLoad(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	warm := warmUp(s, s.Start(4))
	logins := s.LoginCalls()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()

	// Slow vendors, so that the queue is long and calls are under way.
	s.OTP.Inject(sandbox.Fault{Delay: 400 * time.Millisecond})
	s.AnnA.Inject(sandbox.Fault{Delay: 400 * time.Millisecond})
	backlog := Size(250, 2000)
	ids := slices.Concat(s.Many(backlog, s.ReadAlerts), s.Many(backlog, s.SendOTP), s.Many(backlog, s.Inactivate))
	loads := []func() []string{
		s.Load(10*time.Millisecond, s.ReadAlerts),
		s.Load(10*time.Millisecond, s.SendOTP),
		s.Load(10*time.Millisecond, s.Inactivate),
	}
	if err := s.OTP.WaitCalls(ctx, danaconnecttest.OpSend, s.OTP.Calls(danaconnecttest.OpSend)+20); err != nil {
		t.Fatal(err)
	}
	s.Redis.Pause()
	<-time.After(outage)
	t.Logf(
		"of more than %d passcodes %d had been asked for when Redis stopped",
		backlog,
		s.OTP.Calls(danaconnecttest.OpSend)-10,
	)
	s.Redis.Resume()
	// The producers find their way back as well.
	if err := s.AnnA.WaitCalls(ctx, annatest.OpInactivate, s.AnnA.Calls(annatest.OpInactivate)+20); err != nil {
		t.Fatal(err)
	}
	for _, stop := range loads {
		ids = append(ids, stop()...)
	}
	s.Wait(3*time.Minute, ids)
	ids = append(ids, warm...)
	// Nobody died, so nothing is unknown either.
	s.CheckDone(ids)
	if n := s.LoginCalls(); n != logins {
		t.Errorf("%d logins, %d before the outage: the token was good all the time", n, logins)
	}
	s.StopAll()
	s.CheckSecrets(nil)
}
