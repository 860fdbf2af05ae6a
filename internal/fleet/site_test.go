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
	s := New(t, Options{Env: map[string]string{"WORKER_QUEUES": everyQueue}})
	p := s.Start(1)[0]
	var ids []string
	for _, enqueue := range []func(...tasks.Option) string{s.SendOTP, s.Inactivate, s.ReadAlerts, s.CallPipe, s.CreateInvoice, s.CreateContact} {
		ids = append(ids, s.Many(5, enqueue)...)
	}
	s.Wait(soon, ids)
	if report := s.CheckDone(ids); report.Calls != len(ids) || len(report.Unknown) != 0 {
		t.Errorf("report = %+v", report)
	}
	if n := len(s.Logins()); n != 1 || len(s.Tokens()) != 2 || s.LoginCalls() != 1 {
		t.Errorf("%d logins with AnnA, %d tokens, want one with AnnA and one with Dinero", n, len(s.Tokens()))
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

// A second create behind the worker's back, and one that is not there.
func TestCheckComplainsOfCreates(t *testing.T) {
	t.Parallel()
	s := New(t, Options{Env: map[string]string{"WORKER_QUEUES": "dinero=2"}})
	s.Start(1)
	invoice, contact := s.CreateInvoice(), s.CreateContact()
	s.Wait(soon, []string{invoice, contact})
	s.CheckDone([]string{invoice, contact})
	double := s.sent[invoice].(tasks.InvoiceCreate)
	again := s.Enqueue(tasks.DineroCall{
		OrganizationID: double.OrganizationID,
		Method:         "POST",
		Path:           "invoices",
		Body:           double.Body,
	})
	s.Wait(soon, []string{again})
	wants := func(text, id string) {
		t.Helper()
		if _, complaints := s.check([]string{id}); !strings.Contains(strings.Join(complaints, "\n"), text) {
			t.Errorf("complaints = %q, want %q", complaints, text)
		}
	}
	wants("2 effects at the vendor, the outcomes allow 1", invoice)
	s.sent[invoice] = s.NewInvoice()
	wants("its Guid names the record of another task, or none", invoice)
	s.Dinero.Reset() // forgets the effects
	wants("0 effects at the vendor, the outcomes allow 1", contact)
}
