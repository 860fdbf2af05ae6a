package app_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/apptest"
	"errand.internal/internal/operator"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// While an account is paused, none of its tasks starts a call, and none logs in; the tasks
// of other accounts go on. Whoever asks is told who paused it and why. The tasks spend no
// attempt, and run when the pause ends, by itself or by an operator.
func TestAPausedAccountsTasksWait(t *testing.T) {
	t.Parallel()
	const account = "dinero-" + dinerotest.Organization
	f := newFixture(t)
	f.Environ["DINERO_RATE"] = "none" // what is parked waits for the pause
	w := f.Start(t)
	o, err := operator.Open(t.Context(), f.Environ)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	order := operator.PauseOrder{Target: account, Reason: "the vendor moves"}
	testwait.Eventually(t, testwait.Limit, "the worker registers its accounts", func() bool {
		_, err = o.Pause(t.Context(), order)
		return err == nil
	})
	ticket, err := tasks.Enqueue(t.Context(), w.Client, listContacts)
	if err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, testwait.Limit, "the task is parked", func() bool {
		status, err := w.Client.Status(t.Context(), ticket.ID)
		return err == nil && status.State == tasks.Parked
	})
	if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err != nil {
		t.Errorf("a task of another account: %v", err)
	}
	status, err := w.Client.Status(t.Context(), ticket.ID)
	if err != nil || status.Attempts != 0 || !strings.Contains(status.Message, account+" is paused by an operator") {
		t.Errorf("%+v, %v", status, err)
	}
	found, err := o.Explain(t.Context(), operator.Question{ID: ticket.ID})
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Do, "the vendor moves") ||
		!strings.Contains(found[0].Do, ": worker resume "+account+" --reason") {
		t.Errorf("explain says %+v, %v", found, err)
	}
	for _, want := range []string{
		`errand_account_paused{account="` + account + `"} 1`,
		`errand_account_paused{account="dckap"} 0`,
		`errand_tasks_parked_total{blocked_by="` + account + `:pause",type="dinero:api:call"} `,
	} {
		if _, metrics := w.Get(t, "/metrics"); !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if calls := f.dinero.Calls(dinerotest.OpToken) + f.dinero.Calls(dinerotest.OpContactFind); calls != 0 {
		t.Errorf("%d calls of a paused account", calls)
	}
	if _, err := o.Resume(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, ticket); err != nil {
		t.Errorf("after the pause: %v", err)
	}

	order.For = 5 * time.Second
	began := time.Now()
	if _, err := o.Pause(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	// The worker has just made a call, so it may take a second to learn of the pause.
	for parked := false; !parked; {
		if ticket, err = tasks.Enqueue(t.Context(), w.Client, listContacts); err != nil {
			t.Fatal(err)
		}
		testwait.Eventually(t, testwait.Limit, "the task is parked or has run", func() bool {
			status, err = w.Client.Status(t.Context(), ticket.ID)
			parked = status.State == tasks.Parked
			return err == nil && (parked || status.Outcome != "")
		})
		if learned := time.Since(began); learned > order.For {
			t.Fatalf("the worker has not learned of the pause after %s", learned)
		}
	}
	if _, err := apptest.Wait(t, ticket); err != nil {
		t.Errorf("after the pause's time: %v", err)
	}
	if ended := time.Since(began); ended < order.For {
		t.Errorf("a task ran %s after the beginning of a pause of %s", ended, order.For)
	}
}
