package fleet

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/tasks"
)

// A site works from end to end, and its parts do what they say.
func TestSite(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	p := s.Start(1)[0]
	ids := append(s.Many(5, s.SendOTP), s.Many(5, s.Inactivate)...)
	ids = append(ids, s.Many(5, s.ReadAlerts)...)
	s.Wait(soon, ids)
	if report := s.CheckDone(ids); report.Calls != len(ids) || len(report.Unknown) != 0 {
		t.Errorf("report = %+v", report)
	}
	if n := len(s.Logins()); n != 1 || len(s.Tokens()) != 1 || s.LoginCalls() != 1 {
		t.Errorf("%d logins, %d tokens, want one of each", n, len(s.Tokens()))
	}
	resp, err := http.Get("http://" + p.Admin() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %d, %v", resp.StatusCode, err)
	}
	if exit := p.Stop(); exit != 0 || !strings.Contains(p.Log(), "worker has stopped") {
		t.Errorf("exit code %d", exit)
	}
}

// A held call shows whose it is; the process can be frozen and killed over it.
func TestProcessUnderACall(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	gate := s.OTP.Hold(danaconnecttest.OpSend)
	t.Cleanup(gate.Release)
	processes := s.Start(2)
	id := s.SendOTP()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := s.OTP.WaitCalls(ctx, danaconnecttest.OpSend, 1); err != nil {
		t.Fatal(err)
	}
	holder := s.Holder(id)
	if holder != processes[0] && holder != processes[1] {
		t.Fatalf("held by %v", holder)
	}
	holder.Pause()
	holder.Pause() // twice is the same as once
	holder.Resume()
	holder.Pause()
	holder.Kill()
	select {
	case <-holder.Done():
	default:
		t.Error("Kill returned before the process was gone")
	}
	if s.Holder(id) != holder {
		t.Error("the claim of a dead process is gone already")
	}
	if err := s.OTP.WaitAnswered(ctx, danaconnecttest.OpSend, 1); err != nil {
		t.Errorf("the vendor does not notice that the caller is gone: %v", err)
	}
	s.StopAll()
}

// What Check is for: it complains where the vendors and the records disagree.
func TestCheckComplains(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	s.Start(1)
	sent, open := s.SendOTP(), s.SendOTP(tasks.In(time.Hour))
	s.Wait(soon, []string{sent})
	if _, complaints := s.check([]string{sent}); len(complaints) != 0 {
		t.Fatalf("complaints before anything went wrong: %q", complaints)
	}
	wants := func(text string, ids ...string) {
		t.Helper()
		if _, complaints := s.check(ids); !strings.Contains(strings.Join(complaints, "\n"), text) {
			t.Errorf("complaints = %q, want %q", complaints, text)
		}
	}
	wants("it has not ended", open)
	wants("listed twice", sent, sent)
	wants("not enqueued by this site", "otp-abc")

	// A second send behind the worker's back, as after a double effect.
	first := s.sent[sent].(tasks.OTPSend)
	again := s.Enqueue(first)
	s.Wait(soon, []string{again})
	wants("2 effects at the vendor, the outcomes allow 1", sent)
	if _, complaints := s.check([]string{sent, again}); len(complaints) != 0 {
		t.Errorf("two tasks for one recipient: %q", complaints)
	}
	s.OTP.Reset() // forgets the effects
	wants("0 effects at the vendor, the outcomes allow 1", sent)
}
