package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
	"errand.internal/tasks/dinero"
)

const (
	// quotaWindow is the vendor's minute, shortened.
	quotaWindow = 5 * time.Second
	// throttledQuota is what the vendor takes of the throttled organization in it.
	throttledQuota = 20
)

// quotaFleet is a fleet whose vendor has a quota for each of three organizations.
type quotaFleet struct {
	*Fixture
	vendor *dinerotest.Sandbox
	// allowed is what the limiter lets an organization make in a window.
	allowed int
	// healthy are organizations with the vendor's usual quota.
	healthy   []string
	throttled string
}

func newQuotaFleet(t *testing.T, workers, allowed int) *quotaFleet {
	t.Helper()
	throttled := fmt.Sprint(firstOrganization + 2)
	f := New(t, Options{
		Sandboxes: []func(string) sandbox.Vendor{Dinero(dinerotest.Options{
			Quota:           dinerotest.Quota,
			Quotas:          map[string]int{throttled: throttledQuota},
			QuotaWindow:     quotaWindow,
			QuotaRetryAfter: true,
		}, 3)},
		Env: map[string]string{
			"WORKER_QUEUES": Queues("dinero"),
			"DINERO_RATE":   fmt.Sprintf("%d/%s", allowed, quotaWindow),
		},
	})
	f.Start(workers)
	return &quotaFleet{
		Fixture:   f,
		vendor:    sandbox.Find[*dinerotest.Sandbox](f.Sandboxes),
		allowed:   allowed,
		healthy:   f.Organizations()[:2],
		throttled: throttled,
	}
}

// enqueueReads enqueues so many reads of each organization, in no order.
func (f *quotaFleet) enqueueReads(count map[string]int) (ids []string) {
	f.tb.Helper()
	var of []string
	for organization, n := range count {
		of = append(of, slices.Repeat([]string{organization}, n)...)
	}
	rand.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	ids = make([]string, len(of))
	Parallel(len(of), func(i int) {
		read := f.Reads.New().(dinero.APICall)
		read.OrganizationID = tasks.ID(of[i])
		ids[i] = f.Enqueue(read)
	})
	return ids
}

// calls are when the calls of an organization arrived.
func (f *quotaFleet) calls(organization string) []time.Time {
	return f.Arrivals("/v1/" + organization + "/contacts")
}

// run runs n reads of each healthy organization, and some of the throttled one, and returns
// the median of the former from the producer to the vendor.
func (f *quotaFleet) run(n, throttled int) (median time.Duration) {
	f.tb.Helper()
	count := map[string]int{f.throttled: throttled}
	before := map[string]int{}
	for _, organization := range f.healthy {
		count[organization] = n
		before[organization] = len(f.calls(organization))
	}
	began := time.Now()
	ids := f.enqueueReads(count)
	f.Wait(2*time.Minute, ids)
	f.CheckDone(ids)
	var waits []time.Duration
	for _, organization := range f.healthy {
		at := f.calls(organization)[before[organization]:]
		if len(at) != n {
			f.tb.Fatalf("%d calls of %s for %d reads", len(at), organization, n)
		}
		f.checkUse(organization, at[n/3:])
		for _, a := range at {
			waits = append(waits, a.Sub(began))
		}
	}
	slices.Sort(waits)
	return waits[len(waits)/2]
}

// checkUse checks that calls that were due together used what they are allowed.
func (f *quotaFleet) checkUse(organization string, at []time.Time) {
	f.tb.Helper()
	took := at[len(at)-1].Sub(at[0])
	used := float64(len(at)-1) / took.Seconds() * quotaWindow.Seconds() / float64(f.allowed)
	f.tb.Logf("%s: %.1f %% of the rate used", organization, 100*used)
	if least := Size(0.8, 0.9); used < least {
		f.tb.Errorf("%s used %.0f %% of its rate while calls waited, want %.0f %%", organization, 100*used, 100*least)
	}
}

// The workers together keep each organization within the vendor's quota, and use it. One
// that the vendor throttles waits as long as the vendor says, and delays no other.
func TestAQuotaIsKeptAndUsed(t *testing.T) {
	t.Parallel()
	// In the short run more is kept for a machine that delays calls on their way.
	f := newQuotaFleet(t, Size(4, 10), Size(90, 95))
	n := Size(200, 400) // with fewer, one delay of a busy machine counts too much
	alone := f.run(n, 0)
	beside := f.run(n, Size(40, 120))
	f.StopAll()

	t.Logf("half of the calls arrive within %s, beside a throttled organization within %s", alone, beside)
	if beside > alone*5/4 {
		t.Errorf("half of the calls arrive within %s beside a throttled organization, %s without", beside, alone)
	}
	for _, organization := range f.healthy {
		if n := f.vendor.Exceeded(organization); n != 0 {
			t.Errorf("%d calls of %s were beyond its quota", n, organization)
		}
	}
	calls, exceeded := len(f.calls(f.throttled)), f.vendor.Exceeded(f.throttled)
	t.Logf("%d of %d calls of the throttled organization were beyond its quota", exceeded, calls)
	if exceeded == 0 || exceeded > calls/4 {
		t.Errorf("%d of %d calls of the throttled organization were beyond its quota, want a few", exceeded, calls)
	}
}
