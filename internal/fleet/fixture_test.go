package fleet

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/record"
	"errand.internal/internal/webtest"
	"errand.internal/tasks"
	"errand.internal/tasks/dinero"
)

func TestFixtureRunsEveryKind(t *testing.T) {
	t.Parallel()
	f := New(t, Options{})
	p := f.Start(1)[0]
	var ids []string
	for _, kind := range []*Kind{
		f.Passcodes,
		f.Updates,
		f.Reads,
		f.PipeCalls,
		f.Invoices,
		f.Contacts,
	} {
		ids = append(ids, f.EnqueueMany(5, kind)...)
	}
	f.Wait(waitLimit, ids)
	if report := f.CheckDone(ids); report.Calls != len(ids) || len(report.Unknown) != 0 {
		t.Errorf("report = %+v", report)
	}
	for _, id := range ids {
		if !f.Arrived(id) {
			t.Errorf("the vendor has no request of %s (%s)", id, f.KindOf(id).Type)
		}
	}
	logins := f.Arrivals("/" + dinerotest.TokenPath)
	calls := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes).Calls(dinerotest.OpToken)
	if len(logins) != 1 || calls != 1 || len(f.Tokens()) != 2 {
		t.Errorf(
			"%d logins at Dinero, %d tokens, want one at Dinero and one at DANAConnect",
			len(logins),
			len(f.Tokens()),
		)
	}
	resp, err := webtest.Client.Get("http://" + p.Admin() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %d, %v", resp.StatusCode, err)
	}
	if code := p.Stop(); code != 0 || !strings.Contains(p.Log(), "worker has stopped") {
		t.Errorf("exit code %d", code)
	}
}

// A held call shows its owner, which can be frozen and killed during the call.
func TestProcessDuringACall(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: map[string]string{"WORKER_QUEUES": Queues("otp")}})
	gate := f.Passcodes.Hold()
	t.Cleanup(gate.Release)
	processes := f.Start(2)
	id := f.EnqueueNew(f.Passcodes)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if err := f.Passcodes.WaitCalls(ctx, 1); err != nil {
		t.Fatal(err)
	}
	owner := f.Owner(id)
	if owner != processes[0] && owner != processes[1] {
		t.Fatalf("the owner is %v", owner)
	}
	owner.Pause()
	owner.Pause() // pausing twice is the same as once
	owner.Resume()
	owner.Pause()
	owner.Kill()
	select {
	case <-owner.Done():
	default:
		t.Error("Kill returned before the process had ended")
	}
	if f.Owner(id) != owner {
		t.Error("the claim of a dead process is gone already")
	}
	if err := f.Passcodes.WaitAnswered(ctx, 1); err != nil {
		t.Errorf("the vendor does not notice that the caller is gone: %v", err)
	}
	f.StopAll()
}

// wantProblem asserts that check finds the problem in the tasks.
func (f *Fixture) wantProblem(problem string, ids ...string) {
	f.tb.Helper()
	if _, problems := f.check(ids); !strings.Contains(strings.Join(problems, "\n"), problem) {
		f.tb.Errorf("problems = %q, want %q", problems, problem)
	}
}

func TestCheckFindsWhereVendorAndRecordDisagree(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: map[string]string{"WORKER_QUEUES": Queues("otp")}})
	f.Start(1)
	sent := f.EnqueueNew(f.Passcodes)
	waiting := f.EnqueueNew(f.Passcodes, tasks.In(time.Hour))
	f.Wait(waitLimit, []string{sent})
	if _, problems := f.check([]string{sent}); len(problems) != 0 {
		t.Fatalf("problems before anything went wrong: %q", problems)
	}
	f.wantProblem("it has not ended", waiting)
	f.wantProblem("listed twice", sent, sent)
	f.wantProblem("not enqueued by this fixture", record.NewID("otp"))

	// A second passcode for the recipient looks like a double effect.
	second := f.Enqueue(f.payload(sent))
	f.Wait(waitLimit, []string{second})
	f.wantProblem("2 effects at the vendor, the outcomes allow 1", sent)
	if _, problems := f.check([]string{sent, second}); len(problems) != 0 {
		t.Errorf("two tasks for one recipient: %q", problems)
	}
	f.payloads[second] = f.NewPasscode()
	f.wantProblem("its idRequest names the code of another recipient, or none", second)
	sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes).Reset() // forgets the effects
	f.wantProblem("0 effects at the vendor, the outcomes allow 1", sent)
}

func TestCheckFindsDoubleAndMissingCreates(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Env: map[string]string{"WORKER_QUEUES": Queues("dinero")}})
	f.Start(1)
	invoice := f.EnqueueNew(f.Invoices)
	contact := f.EnqueueNew(f.Contacts)
	f.Wait(waitLimit, []string{invoice, contact})
	f.CheckDone([]string{invoice, contact})
	create := f.payload(invoice).(dinero.InvoiceCreate)
	double := f.Enqueue(dinero.APICall{
		OrganizationID: create.OrganizationID,
		Method:         "POST",
		Path:           "invoices",
		Body:           create.Body,
	})
	f.Wait(waitLimit, []string{double})
	f.wantProblem("2 effects at the vendor, the outcomes allow 1", invoice)
	f.payloads[invoice] = f.NewInvoice()
	f.wantProblem("its Guid names the record of another task, or none", invoice)
	sandbox.Find[*dinerotest.Sandbox](f.Sandboxes).Reset() // forgets the effects
	f.wantProblem("0 effects at the vendor, the outcomes allow 1", contact)
}

func TestTokensIn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		body string
		want string
	}{
		{name: "OAuth", body: `{"access_token":"a","token_type":"Bearer","expires_in":1}`, want: "a"},
		{name: "nested", body: `{"success":true,"data":{"Token":"b"}}`, want: "b"},
		{name: "no token", body: `{"message":"the token is refused"}`},
		{name: "not JSON", body: `token`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(tokensIn([]byte(tc.body)), " "); got != tc.want {
				t.Errorf("tokensIn = %q, want %q", got, tc.want)
			}
		})
	}
}
