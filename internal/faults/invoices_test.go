package faults

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
	"errand.internal/tasks/dinero"
)

// Invoices and contacts are created while a twentieth of the vendor's answers is
// lost after the effect, and while workers are killed at random moments and replaced.
// Each record is created once, and each task is done and names its own.
//
// There is one exception: a task whose worker died three times is not run again. It
// ends unknown, with one record or none.
func TestInvoices(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	kills := fleet.Size(3, 40)
	env := fleet.Timeouts(fleet.Size(time.Second, 2*time.Second)) // a lookup waits for longer than a call takes
	env["WORKER_QUEUES"] = "dinero=2"
	env["DINERO_RATE"] = "6000/1m" // the vendor's quota is not the subject
	h := newHarness(t, fleet.Options{
		Env: env,
		Sandboxes: []func(canary string) sandbox.Vendor{
			fleet.Dinero(dinerotest.Options{}, fleet.Size(3, 20)),
		},
	})
	counts := map[*fleet.Kind]int{
		h.Invoices: fleet.Size(60, 1000),
		h.Contacts: fleet.Size(20, 100),
	}
	slow := fleet.Size(300*time.Millisecond, 500*time.Millisecond) // so that a kill meets some calls
	for kind, n := range counts {
		for _, fault := range lostAnswers(r, n, slow) {
			kind.Inject(fault)
		}
	}
	workers := h.Start(3)

	began := time.Now()
	drafts := make([]dinero.InvoiceCreate, kills)
	ids := make([]string, kills)
	for i := range drafts {
		drafts[i] = h.NewInvoice()
		ids[i] = h.Enqueue(drafts[i])
	}
	kinds := slices.Concat(
		slices.Repeat([]*fleet.Kind{h.Invoices}, counts[h.Invoices]-kills),
		slices.Repeat([]*fleet.Kind{h.Contacts}, counts[h.Contacts]),
	)
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	creates := make([]string, len(kinds))
	fleet.Parallel(len(kinds), func(i int) {
		creates[i] = h.EnqueueNew(kinds[i])
	})
	ids = append(ids, creates...)
	for n := range kills {
		interval := fleet.Size(800*time.Millisecond, 3*time.Second)
		fleet.Elapse(t, time.Duration(r.Int64N(int64(interval))))
		i := r.IntN(len(workers))
		workers[i].Kill()
		workers[i] = h.Start(1)[0]
		if again := h.Enqueue(drafts[n]); again != ids[n] { // a producer that lost the reply
			t.Errorf("the reference of %s was enqueued again as %s", ids[n], again)
		}
	}
	h.Wait(fleet.Size(2*time.Minute, 10*time.Minute), ids)
	took := time.Since(began)

	report := h.checkCreates(ids)
	for kind, n := range counts {
		h.checkRecords(kind, n, len(report.Unknown))
	}
	t.Logf(
		"%v in %v; %d kills; %d lists read",
		report.Outcomes,
		took.Round(time.Second),
		kills,
		h.Invoices.Engine.Calls(dinerotest.OpInvoiceFind)+
			h.Contacts.Engine.Calls(dinerotest.OpContactFind),
	)
	h.StopAll()
}

// checkCreates asserts that every create is done, or unknown after three deaths of
// its worker, and that the kills met some.
func (h *harness) checkCreates(ids []string) fleet.Report {
	h.t.Helper()
	report := h.Check(ids)
	deaths := h.deaths(ids)
	interrupted := 0
	for _, n := range deaths {
		interrupted += n
	}
	h.t.Logf("%d creates whose worker was killed", interrupted)
	if interrupted == 0 {
		h.t.Error("no killed worker had a create")
	}
	if done := report.Outcomes[tasks.Done]; done+len(report.Unknown) != len(ids) {
		h.t.Errorf("outcomes %v, want only done", report.Outcomes)
	}
	for _, id := range report.Unknown {
		status := h.status(id)
		if deaths[id] < 3 || !strings.Contains(status.Message, "died three times") {
			h.t.Errorf("%s is unknown (%+v), although its worker died %d times", id, status, deaths[id])
		}
	}
	return report
}

// checkRecords asserts that the vendor has n records of a kind, each once; of the
// unknown tasks it may have one or none.
func (h *harness) checkRecords(kind *fleet.Kind, n, unknown int) {
	h.t.Helper()
	vendor := sandbox.Find[*dinerotest.Sandbox](h.Sandboxes)
	list := vendor.Invoices
	if kind == h.Contacts {
		list = vendor.Contacts
	}
	records := map[string]int{} // by reference
	for _, organization := range h.Organizations() {
		for _, created := range list(organization) {
			records[created.ExternalReference]++
		}
	}
	doubled := 0
	for _, times := range records {
		doubled += times - 1
	}
	if doubled > 0 || len(records) > n || len(records) < n-unknown {
		h.t.Errorf(
			"%s: %d records with %d references, want %d of each",
			kind.Op,
			len(records)+doubled,
			len(records),
			n,
		)
	}
	if slices.ContainsFunc(vendor.Faults(), func(f sandbox.Fault) bool { return f.Op == kind.Op }) {
		h.t.Errorf("%s: not every answer that was to be lost was", kind.Op)
	}
	h.t.Logf(
		"%s: %d enqueued, %d created, %d doubled; %d of %d answers lost after the effect",
		kind.Op,
		n,
		len(records),
		doubled,
		n/20,
		kind.Calls(),
	)
}

// lostAnswers returns the faults of as many calls, in random order: a twentieth is
// executed and never answered; of the others, half are slow before the effect and
// half after it.
func lostAnswers(r *rand.Rand, calls int, slow time.Duration) []sandbox.Fault {
	faults := make([]sandbox.Fault, calls)
	for i := range faults {
		drop := i < calls/20
		faults[i] = sandbox.Fault{
			Times:       1,
			Delay:       slow,
			Drop:        drop,
			AfterEffect: drop || i%2 == 0,
		}
	}
	r.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	return faults
}

// deaths returns how often the worker of each task died.
func (h *harness) deaths(ids []string) map[string]int {
	h.t.Helper()
	ctx := h.t.Context()
	replies, err := h.Conn().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, id := range ids {
			pipe.HMGet(ctx, fleet.RecordKey(id), "crashes")
		}
		return nil
	})
	if err != nil {
		h.t.Fatalf("read the records: %v", err)
	}
	deaths := map[string]int{}
	for i, reply := range replies {
		if crashes, found := reply.(*redis.SliceCmd).Val()[0].(string); found {
			n, err := strconv.Atoi(crashes)
			if err != nil {
				h.t.Fatal(err)
			}
			deaths[ids[i]] = n
		}
	}
	return deaths
}
