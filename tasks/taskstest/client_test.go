package taskstest_test

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/taskstest"
)

// The time of a bubble decides: a task is due, ends Expired, is forgotten, and frees its
// key when a worker would have had it so.
func TestTimeInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := taskstest.New()
		s := system{client: c}
		later := mustEnqueue(t, s, tasks.In(time.Hour))
		if err := c.End(later.ID, taskstest.Ending{}); err == nil || !strings.Contains(err.Error(), "due at") {
			t.Errorf("an end before it is due: %v", err)
		}
		time.Sleep(time.Hour)
		if err := c.End(later.ID, taskstest.Ending{}); err != nil {
			t.Errorf("the end when it is due: %v", err)
		}
		began := time.Now()
		expired := mustEnqueue(t, s, tasks.Key("k"))
		_, err := expired.Wait(t.Context())
		if o, ok := errors.AsType[*tasks.OutcomeError](err); !ok || o.Outcome != tasks.Expired {
			t.Errorf("nobody has ended it: %v", err)
		}
		if took := time.Since(began); took < time.Minute || took > time.Minute+time.Millisecond {
			t.Errorf("it has expired after %s", took)
		}
		done := mustEnqueue(t, s, tasks.Key("k"))
		if err := c.End(done.ID, taskstest.Ending{Result: correct}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if status, err := c.Status(t.Context(), done.ID); err != nil || status.HasData || status.Data != nil {
			t.Errorf("after a day: %+v, %v", status, err)
		}
		time.Sleep(time.Hour)
		if _, err := c.Status(t.Context(), done.ID); !errors.Is(err, tasks.ErrNotFound) {
			t.Errorf("an hour later: %v", err)
		}
		again := mustEnqueue(t, s, tasks.Key("k"))
		if !again.Duplicate || again.ID != done.ID || again.Outcome != tasks.Done {
			t.Errorf("the key after a day: %+v", again)
		}
		time.Sleep(6 * 24 * time.Hour)
		if again := mustEnqueue(t, s, tasks.Key("k")); again.Duplicate {
			t.Errorf("the key after seven days: %+v", again)
		}
	})
}

// A test cannot end a task as no worker could.
func TestEndRefusesWhatNoWorkerCouldDo(t *testing.T) {
	t.Parallel()
	c := taskstest.New()
	ticket := mustEnqueue(t, system{client: c})
	for want, e := range map[string]taskstest.Ending{
		`there is no outcome "perfect"`:                                        {Outcome: "perfect"},
		"the result of danaconnect:otp:verify is a otp.Verified, not a string": {Result: "correct"},
	} {
		if err := c.End(ticket.ID, e); err == nil || err.Error() != "taskstest: "+want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := c.End("otp_nosuchtask", taskstest.Ending{}); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("no such task: %v", err)
	}
	if err := c.End(ticket.ID, taskstest.Ending{}); err != nil {
		t.Fatal(err)
	}
	if status, err := c.Status(t.Context(), ticket.ID); err != nil || !status.HasData {
		t.Errorf("a result that is not given is the zero value: %+v, %v", status, err)
	}
	if err := c.End(ticket.ID, taskstest.Ending{}); err == nil || !strings.Contains(err.Error(), "has ended: done") {
		t.Errorf("a second end: %v", err)
	}
}

// What the caller changes afterwards does not change the task, as it would not in Redis.
func TestATaskIsACopy(t *testing.T) {
	t.Parallel()
	c := taskstest.New()
	body := map[string]any{"name": "Ana"}
	call := danaconnect.APICall{Method: http.MethodPost, Path: "records", Body: body}
	if _, err := tasks.Enqueue(t.Context(), c, call); err != nil {
		t.Fatal(err)
	}
	body["name"] = "Ben"
	stored := taskstest.Payloads[danaconnect.APICall](c)[0].Body.(map[string]any)
	if stored["name"] != "Ana" {
		t.Errorf("the task has %v", stored)
	}
}

// connect returns a client whose tasks run against sandboxes.
func connect(t *testing.T, list sandbox.Vendors) *taskstest.Client {
	t.Helper()
	web := httptest.NewServer(list.Handler())
	t.Cleanup(web.Close)
	c := taskstest.New()
	connected := 0
	for _, v := range all.Vendors {
		if err := c.Connect(v, list.Environ(web.URL)); err == nil {
			connected++
		}
	}
	if connected != len(list) {
		t.Fatalf("%d vendors are connected, want %d", connected, len(list))
	}
	return c
}

// Each type runs inline, without Redis.
func TestEachTypeRunsAgainstItsSandbox(t *testing.T) {
	t.Parallel()
	c := connect(t, sandboxes.New(""))
	outcomes := map[string]tasks.Outcome{
		"anna:user:hash":         tasks.Declined, // nobody has created the user
		"danaconnect:otp:verify": tasks.Declined, // it was another code
	}
	for _, info := range all.Vendors.Types() {
		ticket, err := c.EnqueuePayload(t.Context(), info.Example)
		if err != nil {
			t.Errorf("%s: %v", info.Type, err)
			continue
		}
		want := cmp.Or(outcomes[info.Type], tasks.Done)
		status, err := c.Run(t.Context(), ticket.ID)
		if err != nil || status.Outcome != want || status.Attempts != 1 {
			t.Errorf("%s: %+v, %v", info.Type, status, err)
		}
	}
}

func TestConnectNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := taskstest.New()
	err := c.Connect(danaconnect.Vendor, nil)
	if err == nil || !strings.Contains(err.Error(), "DANACONNECT_USERNAME") {
		t.Errorf("no settings: %v", err)
	}
	ticket := mustEnqueue(t, system{client: c})
	if _, err := c.Run(t.Context(), ticket.ID); err == nil || !strings.Contains(err.Error(), "connect its vendor") {
		t.Errorf("a run without an account: %v", err)
	}
}

// A fault of the vendor means for the task what it means in a worker.
func TestRunConcludesAsAWorkerDoes(t *testing.T) {
	t.Parallel()
	dana := danaconnecttest.New(danaconnecttest.Options{})
	c := connect(t, sandbox.Vendors{dana})
	send := func() string {
		ticket, err := tasks.Enqueue(t.Context(), c, danaconnect.OTPSend{
			IDConversation: danaconnecttest.Conversation,
			Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}},
			OTPType:        1,
			Length:         6,
		})
		if err != nil {
			t.Fatal(err)
		}
		return ticket.ID
	}
	lost := send()
	dana.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Times: 1, AfterEffect: true, Drop: true})
	if status, err := c.Run(t.Context(), lost); err != nil || status.Outcome != tasks.Unknown {
		t.Errorf("the answer was lost: %+v, %v", status, err)
	}
	busy := send()
	dana.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Times: 1, Status: http.StatusTooManyRequests})
	status, err := c.Run(t.Context(), busy)
	if err != nil || status.State != tasks.Parked || status.Next.IsZero() {
		t.Errorf("the vendor is busy: %+v, %v", status, err)
	}
	if status, err = c.Run(t.Context(), busy); err != nil || status.Outcome != tasks.Done || status.Attempts != 2 {
		t.Errorf("the next attempt: %+v, %v", status, err)
	}
	if n := dana.Effects(danaconnecttest.OpSend); n != 2 {
		t.Errorf("%d codes were sent, want 2", n)
	}
}

// A task that the vendor put off until its time was up ends Failed, as in a worker: Expired
// would say that the vendor was never called.
func TestRunKnowsThatTheVendorWasCalled(t *testing.T) {
	t.Parallel()
	dana := danaconnecttest.New(danaconnecttest.Options{})
	c := connect(t, sandbox.Vendors{dana})
	info, _ := all.Vendors.Find("danaconnect:conversation:start")
	ticket, err := c.EnqueuePayload(t.Context(), info.Example, tasks.UsableFor(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	dana.Inject(sandbox.Fault{Op: danaconnecttest.OpStart, Times: 1, Status: http.StatusTooManyRequests})
	if status, err := c.Run(t.Context(), ticket.ID); err != nil || status.State != tasks.Parked {
		t.Fatalf("the vendor is busy: %+v, %v", status, err)
	}
	_, err = ticket.Wait(t.Context())
	if o, ok := errors.AsType[*tasks.OutcomeError](err); !ok || o.Outcome != tasks.Failed {
		t.Errorf("its time is up: %v, want failed", err)
	}
}

// A create whose answer was lost is looked for before it is made again.
func TestRunReconciles(t *testing.T) {
	t.Parallel()
	vendor := dinerotest.Demo("").(*dinerotest.Sandbox)
	c := connect(t, sandbox.Vendors{vendor})
	info, _ := all.Vendors.Find("dinero:invoice:create")
	ticket, err := c.EnqueuePayload(t.Context(), info.Example)
	if err != nil {
		t.Fatal(err)
	}
	vendor.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Times: 1, AfterEffect: true, Drop: true})
	status, err := c.Run(t.Context(), ticket.ID)
	if err != nil || status.State != tasks.Retrying {
		t.Fatalf("in doubt: %+v, %v", status, err)
	}
	if status, err = c.Run(t.Context(), ticket.ID); err != nil || status.Outcome != tasks.Done {
		t.Errorf("the lookup: %+v, %v", status, err)
	}
	if n := vendor.Effects(dinerotest.OpInvoiceCreate); n != 1 {
		t.Errorf("%d invoices, want 1", n)
	}
}

// An opening that was enqueued before a closing which has started ends Superseded.
func TestRunSupersedes(t *testing.T) {
	t.Parallel()
	vendor := annatest.Demo("").(*annatest.Sandbox)
	c := connect(t, sandbox.Vendors{vendor})
	opens, err := tasks.Enqueue(t.Context(), c, anna.UserForceHash{UserID: "u-9", UserName: "Ana"})
	if err != nil {
		t.Fatal(err)
	}
	closes, err := tasks.Enqueue(t.Context(), c, anna.UserInactivate{UserID: "u-9"})
	if err != nil {
		t.Fatal(err)
	}
	rehire, err := tasks.Enqueue(t.Context(), c, anna.UserForceHash{UserID: "u-9", UserName: "Ana"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.End(closes.ID, taskstest.Ending{}); err != nil {
		t.Fatal(err)
	}
	if status, err := c.Run(t.Context(), opens.ID); err != nil || status.Outcome != tasks.Superseded {
		t.Errorf("the opening before: %+v, %v", status, err)
	}
	if status, err := c.Run(t.Context(), rehire.ID); err != nil || status.Outcome != tasks.Done {
		t.Errorf("the opening after: %+v, %v", status, err)
	}
}

// Many goroutines enqueue, end and wait.
func TestClientIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := taskstest.New()
	c.OnEnqueue(func(task taskstest.Task) {
		go func() { _ = c.End(task.ID, taskstest.Ending{Result: correct}) }()
	})
	ends := make(chan error)
	const n = 200
	for range n {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			ticket, err := tasks.Enqueue(ctx, c, verify("251", "004217"), tasks.Key("one"))
			if err == nil {
				_, err = ticket.Wait(ctx)
			}
			ends <- err
		}()
	}
	for range n {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if list := c.Enqueued(); len(list) != 1 || list[0].Key != "one" {
		t.Errorf("%d tasks, want one", len(list))
	}
}
