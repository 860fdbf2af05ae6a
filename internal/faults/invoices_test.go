package faults

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// Invoices and contacts are created while the vendor leaves a twentieth of the
// calls without an answer after it has carried them out, and workers are killed
// at random moments and replaced. Each record is made, none twice, and each task
// is done and names its own.
//
// There is one exception: a task whose worker died three times under it is not
// touched again, and ends unknown with one record or none.
func TestInvoices(t *testing.T) {
	t.Parallel()
	d := dice(t)
	invoices := fleet.Size(60, 1000)
	contacts := fleet.Size(20, 100)
	kills := fleet.Size(3, 40)
	slow := fleet.Size(300*time.Millisecond, 500*time.Millisecond) // so that a kill meets some calls
	s := fleet.New(t, fleet.Options{Organizations: fleet.Size(3, 20), Env: map[string]string{
		"WORKER_QUEUES": "dinero=2", "DINERO_TIMEOUT": fleet.Size("1s", "2s"), // a lookup waits for longer than a call takes
		"DINERO_RATE": "6000/1m", // the vendor's quota is not what this is about
	}})
	creates := map[string]int{dinerotest.OpInvoiceCreate: invoices, dinerotest.OpContactCreate: contacts}
	for op, n := range creates {
		s.Dinero.Inject(trouble(d, op, n, slow)...)
	}
	crew := s.Start(3)

	began := time.Now()
	drafts := make([]tasks.InvoiceCreate, kills)
	ids := make([]string, kills)
	for i := range drafts {
		drafts[i] = s.NewInvoice()
		ids[i] = s.Enqueue(drafts[i])
	}
	kinds := slices.Concat(slices.Repeat([]func(...tasks.Option) string{s.CreateInvoice}, invoices-kills),
		slices.Repeat([]func(...tasks.Option) string{s.CreateContact}, contacts))
	d.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var next atomic.Int32
	ids = append(ids, s.Many(len(kinds), func(o ...tasks.Option) string { return kinds[next.Add(1)-1](o...) })...)
	for n := range kills {
		<-time.After(time.Duration(d.Int64N(int64(fleet.Size(800*time.Millisecond, 3*time.Second)))))
		i := d.IntN(len(crew))
		crew[i].Kill()
		crew[i] = s.Start(1)[0]
		if again := s.Enqueue(drafts[n]); again != ids[n] { // a producer that is not sure
			t.Errorf("the reference of %s was enqueued as %s as well", ids[n], again)
		}
	}
	s.Wait(fleet.Size(2*time.Minute, 10*time.Minute), ids)
	took := time.Since(began)

	report := s.Check(ids)
	died := deaths(t, s, ids)
	inHand := 0
	for _, n := range died {
		inHand += n
	}
	if inHand == 0 {
		t.Error("no killed worker had a create in hand")
	}
	if done := report.Outcomes[tasks.Done]; done+len(report.Unknown) != len(ids) {
		t.Errorf("outcomes %v, want done alone", report.Outcomes)
	}
	for _, id := range report.Unknown {
		status, err := s.Client.Status(t.Context(), id)
		if err != nil || died[id] < 3 || !strings.Contains(status.Message, "died three times") {
			t.Errorf("%s is unknown (%+v, %v), and its worker died %d times", id, status, err, died[id])
		}
	}
	kept := map[string]map[string]int{dinerotest.OpInvoiceCreate: {}, dinerotest.OpContactCreate: {}} // by reference
	for _, organization := range s.Organizations() {
		for _, r := range s.Dinero.Invoices(organization) {
			kept[dinerotest.OpInvoiceCreate][r.ExternalReference]++
		}
		for _, r := range s.Dinero.Contacts(organization) {
			kept[dinerotest.OpContactCreate][r.ExternalReference]++
		}
	}
	left := s.Dinero.Faults()
	for op, n := range creates {
		doubled := 0
		for _, times := range kept[op] {
			doubled += times - 1
		}
		if most, least := n, n-len(report.Unknown); doubled > 0 || len(kept[op]) > most || len(kept[op]) < least {
			t.Errorf("%s: %d records under %d references, want %d of each", op, len(kept[op])+doubled, len(kept[op]), n)
		}
		if slices.ContainsFunc(left, func(f sandbox.Fault) bool { return f.Op == op }) {
			t.Errorf("%s: not every answer that should be dropped was", op)
		}
		t.Logf("%s: %d asked for, %d there, %d doubled; %d of %d calls not answered after the effect",
			op, n, len(kept[op]), doubled, n/20, s.Dinero.Calls(op))
	}
	t.Logf(
		"%v in %v; %d kills, %d creates in the hand of a killed worker; %d lists read",
		report.Outcomes,
		took.Round(time.Second),
		kills,
		inHand,
		s.Dinero.Calls(dinerotest.OpInvoiceFind)+s.Dinero.Calls(dinerotest.OpContactFind),
	)
	s.StopAll()
}

// trouble is what becomes of so many calls, in a random order: a twentieth is
// carried out and never answered; of the others half take their time before the
// effect, and half after it.
func trouble(d *rand.Rand, op string, calls int, slow time.Duration) []sandbox.Fault {
	faults := make([]sandbox.Fault, calls)
	for i := range faults {
		drop := i < calls/20
		faults[i] = sandbox.Fault{
			Op:          op,
			Times:       1,
			Delay:       slow,
			Drop:        drop,
			AfterEffect: drop || i%2 == 0,
		}
	}
	d.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	return faults
}

// deaths counts for each task the workers that died with it in hand.
func deaths(t *testing.T, s *fleet.Site, ids []string) map[string]int {
	t.Helper()
	replies, err := s.Conn().Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for _, id := range ids {
			pipe.HMGet(t.Context(), recordKey(id), "crashes")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read the records: %v", err)
	}
	died := map[string]int{}
	for i, reply := range replies {
		if crashes, found := reply.(*redis.SliceCmd).Val()[0].(string); found {
			n, err := strconv.Atoi(crashes)
			if err != nil {
				t.Fatal(err)
			}
			died[ids[i]] = n
		}
	}
	return died
}
