package faults

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// A busy organization's list has more pages than one try of a lookup reads. The next
// try goes on where the last one stopped, for the same changes, also when a worker was
// killed in between: a list begins shortly before the task's first attempt, and no page
// is read again but the one before the place.
func TestALookupGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	const pageSize, records = 10, 35
	h := newHarness(t, fleet.Options{
		Env: fleet.Timeouts(3 * time.Second), // a lookup waits for longer than a call takes
		Sandboxes: []func(canary string) sandbox.Vendor{
			fleet.Dinero(dinerotest.Options{MaxPageSize: pageSize}, 1),
		},
	})
	first := h.startWorkers(1)[0]
	h.Wait(waitLimit, h.EnqueueMany(records, h.Invoices))
	engine := h.Invoices.Engine
	engine.Inject(
		sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Drop: true, Times: 1},
		// The fourth page of the first try, and the first page of the second.
		sandbox.Fault{Op: dinerotest.OpInvoiceFind, Skip: 3, Status: 503, Times: 1},
		sandbox.Fault{Op: dinerotest.OpInvoiceFind, Skip: 3, Drop: true, Delay: time.Minute, Times: 1},
	)
	enqueued := time.Now()
	id := h.EnqueueNew(h.Invoices)
	if err := engine.WaitCalls(limitContext(t), dinerotest.OpInvoiceFind, 5); err != nil {
		t.Fatal(err)
	}
	first.Kill()
	h.startWorkers(1)
	h.Wait(waitLimit, []string{id})
	h.finish(waitLimit, tasks.Done)

	var pages, since []string
	for _, r := range engine.Requests(dinerotest.OpInvoiceFind) {
		_, query, _ := strings.Cut(r.URI, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, values.Get("page"))
		since = append(since, values.Get("changesSince"))
	}
	got := strings.Join(pages, " ")
	const want = "0 1 2 3" + // the last one fails
		" 2" + // the page before is compared, and the worker killed
		" 2 3 2" + // not found
		" 0 1 2 3" // not found by the second lookup either
	if got != want {
		t.Errorf("pages %s, want %s", got, want)
	}
	if same := slices.Compact(slices.Clone(since[:min(8, len(since))])); len(same) != 1 {
		t.Errorf("changes since %v, want the same until the list was read", same)
	}
	for _, text := range since {
		at, err := time.Parse("2006-01-02T15:04:05", text)
		if age := enqueued.Sub(at); err != nil || age < 3*time.Hour-time.Minute || age > 3*time.Hour+time.Minute {
			t.Errorf("changes since %s, %v before the task, want 3 h before its first attempt (%v)", text, age, err)
		}
	}
	if n := h.EffectsOf(id); n != 1 {
		t.Errorf("%d invoices, want 1", n)
	}
	testwait.Eventually(t, waitLimit, "the place is given up", func() bool {
		return h.Conn().HGet(t.Context(), fleet.RecordKey(id), "place").Val() == ""
	})
	h.StopAll()
}
