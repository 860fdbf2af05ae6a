package dinero_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/redistest"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/dinero"
)

// fakeClock is a time that passes when somebody sleeps.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// quotaFixture is the sandbox and two workers of one fleet, all on one clock.
type quotaFixture struct {
	*dinerotest.Sandbox
	clock   *fakeClock
	workers [][]worker.Definition
}

func newQuotaFixture(t *testing.T, quota int, rate string) *quotaFixture {
	t.Helper()
	c := &fakeClock{now: time.Now()}
	f := &quotaFixture{
		Sandbox: dinerotest.New(dinerotest.Options{Quota: quota, Now: c.Now, TokenLife: 24 * time.Hour}),
		clock:   c,
	}
	base := clientstest.Serve(t, f.Sandbox, dinerotest.Mount)
	environ := f.Environ(base[:len(base)-len(dinerotest.Mount)])
	environ["DINERO_RATE"] = rate
	server := redistest.New(t)
	for range 2 {
		s := dinero.Vendor.Accounts[0].Settings()
		if err := settings.Load(s, environ); err != nil {
			t.Fatal(err)
		}
		opened := account.New(account.Shared{
			Redis: server.Client(),
			Admission: []admission.Option{
				admission.WithClock(c),
				admission.WithRedisTimeout(20 * time.Second),
			},
		})
		t.Cleanup(opened.Close)
		definitions, err := dinero.Vendor.Open(dinero.Vendor.Accounts[0], s, opened)
		if err != nil {
			t.Fatal(err)
		}
		f.workers = append(f.workers, definitions)
	}
	return f
}

func (f *quotaFixture) definition(process int, taskType string) worker.Definition {
	i := slices.IndexFunc(f.workers[process], func(d worker.Definition) bool { return d.Type == taskType })
	return f.workers[process][i]
}

func (f *quotaFixture) try(t *testing.T, process int, organization, task string) (*clients.Attempt, error) {
	t.Helper()
	ctx, attempt := clients.WithAttempt(t.Context(), nil)
	attempt.Task = task
	attempt.Deadline = time.Now().Add(24 * time.Hour)
	_, err := f.definition(process, "dinero:api:call").Run(ctx, dinero.APICall{
		OrganizationID: tasks.ID(organization),
		Method:         http.MethodGet,
		Path:           "contacts",
	})
	return attempt, err
}

// call makes one call; retryAfter is when the limits want the task back.
func (f *quotaFixture) call(t *testing.T, worker int, organization, task string) (retryAfter time.Duration) {
	t.Helper()
	attempt, err := f.try(t, worker, organization, task)
	if waits, ok := errors.AsType[*admission.Blocked](err); ok && !attempt.Sent() {
		return waits.RetryAfter
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// The vendor admits 100 calls a minute. Of 600 calls in a row by two workers with
// 95/1m it never has to refuse one, and the quota is well used.
func TestQuotaIsNeverUsedUp(t *testing.T) {
	t.Parallel()
	f := newQuotaFixture(t, 100, "95/1m")
	start := f.clock.Now()
	for i := range 600 {
		for {
			wait := f.call(t, i%2, dinerotest.Organization, "dinero-1")
			if wait == 0 {
				break
			}
			_ = f.clock.Sleep(t.Context(), wait)
		}
	}
	if took := f.clock.Now().Sub(start); took < 6*time.Minute || took > 7*time.Minute {
		t.Errorf("600 calls in %s", took)
	}
	// Every page of a lookup counts, too; logins do not.
	if n := f.Calls(dinerotest.OpContactFind); n != 600 {
		t.Errorf("%d calls", n)
	}
	_ = f.clock.Sleep(t.Context(), time.Minute)
	create := dinero.ContactCreate{Record: dinero.Record{
		OrganizationID: tasks.ID(dinerotest.Organization),
		Body:           map[string]any{"Name": "Ana", "ExternalReference": "x"},
	}}
	if _, _, err := f.definition(0, "dinero:contact:create").Reconcile(t.Context(), create); err != nil {
		t.Error(err)
	}
	start = f.clock.Now()
	for range 5 {
		f.call(t, 0, dinerotest.Organization2, "dinero-2")
	}
	if took := f.clock.Now().Sub(start); took != 0 {
		t.Errorf("the other organization waited %s", took)
	}
}

// When others have used the quota up, one call finds out, for the whole fleet and
// only for that organization.
func TestQuotaUsedUpByOthers(t *testing.T) {
	t.Parallel()
	f := newQuotaFixture(t, 5, "1000/1m")
	for range 5 {
		f.call(t, 0, dinerotest.Organization, "dinero-1")
	}
	_, err := f.try(t, 0, dinerotest.Organization, "")
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.Blocked ||
		e.Status != http.StatusTooManyRequests || e.RetryAfter != time.Minute || e.NotSent {
		t.Fatalf("%+v", err)
	}
	calls := f.Calls(dinerotest.OpContactFind)
	for worker := range 2 {
		wait := f.call(t, worker, dinerotest.Organization, "dinero-1")
		if wait < 59*time.Second || wait > time.Minute {
			t.Errorf("worker %d: retry after %s, want a minute", worker, wait)
		}
	}
	if n := f.Calls(dinerotest.OpContactFind); n != calls {
		t.Errorf("%d calls while the quota was used up", n-calls)
	}
	if wait := f.call(t, 1, dinerotest.Organization2, "dinero-2"); wait != 0 {
		t.Errorf("the other organization waits %s", wait)
	}
	_ = f.clock.Sleep(t.Context(), time.Minute)
	if wait := f.call(t, 1, dinerotest.Organization, "dinero-1"); wait != 0 {
		t.Errorf("after the minute: retry after %s", wait)
	}
}
