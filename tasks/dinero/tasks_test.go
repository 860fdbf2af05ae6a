package dinero_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/dinero"
)

// start runs Dinero's queue against a sandbox with these options. environ has
// settings beside the sandbox's own; without it calls have no limit.
func start(
	t *testing.T,
	o dinerotest.Options,
	environ map[string]string,
) (*dinerotest.Sandbox, *tasks.Client) {
	t.Helper()
	vendor := dinerotest.New(o)
	f := apptest.NewWith(t, vendor)
	f.Only("dinero")
	f.Environ["DINERO_TIMEOUT"] = "2s"
	f.Environ["DINERO_RATE"] = "none" // the default, 95/1m, would make the tests wait
	maps.Copy(f.Environ, environ)
	return vendor, f.StartQueues(t)
}

func run(t *testing.T, c *tasks.Client, taskType, raw string) (json.RawMessage, error) {
	t.Helper()
	return apptest.Wait(t, apptest.EnqueueJSON(t, c, taskType, raw))
}

func TestGoldenPayloads(t *testing.T) {
	apptest.CheckGoldenPayloads(t, dinero.Vendor)
}

// Every task type, from its golden payload to the request at the sandbox.
func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, nil)
	for _, tt := range []struct{ taskType, op string }{
		{"dinero:api:call", dinerotest.OpContactFind},
		{"dinero:contact:create", dinerotest.OpContactCreate},
		{"dinero:invoice:create", dinerotest.OpInvoiceCreate},
	} {
		apptest.CheckGoldenRequest(t, c, tt.taskType, vendor.Engine, tt.op)
	}
}

func TestPayloadRules(t *testing.T) {
	t.Parallel()
	apptest.CheckRules(t, []apptest.Rule{
		{
			Name: "call",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":123456,"method":"POST","path":"invoices/x/book","version":"v1.2","body":{"Timestamp":"1"},"idempotent":false}`,
			Want: "",
		},
		{
			Name: "nothing",
			Type: "dinero:api:call",
			Raw:  `{}`,
			Want: "method is required; organizationId is required; path is required",
		},
		{
			Name: "organization",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":"12/34","method":"GET","path":"x"}`,
			Want: "organizationId must be digits only",
		},
		{
			Name: "organization with a space",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":"1 2","method":"GET","path":"x"}`,
			Want: "organizationId must be digits only",
		},
		{
			Name: "organization in another notation",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":12e1,"method":"GET","path":"x"}`,
			Want: "organizationId must be digits only",
		},
		{
			Name: "member of a body given twice",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":1,"body":{"ProductLines":[{"Quantity":1,"Quantity":100}]}}`,
			Want: "body.ProductLines[0].Quantity is given twice",
		},
		{
			Name: "version",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":1,"method":"GET","path":"x","version":"../v2"}`,
			Want: "version must be written v1, v2 or v1.2",
		},
		{
			Name: "another organization",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":1,"method":"GET","path":"../2/contacts"}`,
			Want: "path must not contain . or .. as a part",
		},
		{
			Name: "query in the path",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":1,"method":"GET","path":"contacts?page=1"}`,
			Want: "path must be a path as in a URL, without ? and #, everything else as %XX",
		},
		{
			Name: "body of a HEAD",
			Type: "dinero:api:call",
			Raw:  `{"organizationId":1,"method":"HEAD","path":"x","body":{}}`,
			Want: "body must not be given with GET or HEAD",
		},
		{
			Name: "create",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":"1","body":{"Date":"2026-01-31","externalReference":"a"}}`,
			Want: "",
		},
		{
			Name: "nothing",
			Type: "dinero:invoice:create",
			Raw:  `{}`,
			Want: "body is required; organizationId is required",
		},
		{
			Name: "empty body",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":1,"body":{}}`,
			Want: "body must have at least 1 entry",
		},
		{
			Name: "body a list",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":1,"body":[]}`,
			Want: "body must be an object",
		},
		{
			Name: "long reference",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":1,"body":{"ExternalReference":"` + strings.Repeat("x", 129) + `"}}`,
			Want: "body.ExternalReference must have at most 128 characters",
		},
		{
			Name: "reference a number",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":1,"body":{"ExternalReference":7}}`,
			Want: "body.ExternalReference must be text",
		},
		{
			Name: "reference twice",
			Type: "dinero:invoice:create",
			Raw:  `{"organizationId":1,"body":{"ExternalReference":"a","externalreference":"b"}}`,
			Want: "body.ExternalReference is given twice",
		},
	})
}

func invoiceFor(organization, reference string) string {
	text := `{"organizationId":` + organization + `,"body":{"ContactGuid":"c","ProductLines":[{"Quantity":1.50}]`
	if reference != "" {
		text += `,"ExternalReference":"` + reference + `"`
	}
	return text + `}}`
}

// The answer is lost after the invoice was created: it is found, and not created
// again.
func TestCreateWithALostAnswerIsDoneOnce(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, nil)
	vendor.Inject(
		sandbox.Fault{
			Op:          dinerotest.OpInvoiceCreate,
			Drop:        true,
			AfterEffect: true,
			Times:       1,
		},
		sandbox.Fault{
			Op:          dinerotest.OpContactCreate,
			Status:      502,
			AfterEffect: true,
			Times:       1,
		},
	)
	data, err := run(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1"))
	kept := vendor.Invoices(dinerotest.Organization)
	if want := `{"Guid":"` + kept[0].GUID + `","TimeStamp":"` + kept[0].TimeStamp + `"}`; err != nil ||
		string(data) != want ||
		len(kept) != 1 {
		t.Errorf("%s, %v, %d invoices; want %s", data, err, len(kept), want)
	}
	ticket, err := tasks.Enqueue(
		t.Context(),
		c,
		dinero.ContactCreate{
			Record: dinero.Record{
				OrganizationID: dinerotest.Organization,
				Body:           map[string]any{"Name": "Ana"},
			},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	made, err := apptest.Wait(t, ticket)
	if people := vendor.Contacts(dinerotest.Organization); err != nil || len(people) != 1 ||
		made.GUID != people[0].GUID ||
		people[0].ExternalReference != ticket.ID {
		t.Errorf("%+v, %v, %+v; want the task's ID %s as the reference", made, err, people, ticket.ID)
	}
}

// The call never had its effect: it is looked up twice, then repeated.
func TestCreateThatDidNotHappenIsMadeAfterTwoLookups(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, nil)
	vendor.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Drop: true, Times: 1})
	if _, err := run(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1")); err != nil {
		t.Error(err)
	}
	if n := vendor.Calls(dinerotest.OpInvoiceFind); n != 2 || vendor.Effects(dinerotest.OpInvoiceCreate) != 1 {
		t.Errorf("%d lookups, %d invoices; want 2 and 1", n, vendor.Effects(dinerotest.OpInvoiceCreate))
	}
}

// A list that lags behind shows the invoice to the second lookup only.
func TestCreateIsFoundLate(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{ListLag: 1}, nil)
	vendor.Inject(sandbox.Fault{
		Op:          dinerotest.OpInvoiceCreate,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	if _, err := run(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1")); err != nil {
		t.Error(err)
	}
	if n := vendor.Effects(dinerotest.OpInvoiceCreate); n != 1 {
		t.Errorf("%d invoices", n)
	}
}

func TestCreateOutcomes(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, nil)
	for _, tt := range []struct {
		name, code string
		want       tasks.Outcome
		effects    int
	}{
		{"plain", "", tasks.Done, 1},
		{"validation", "42", tasks.Invalid, 0},
		{"limit", "43", tasks.Invalid, 0},
		{"stale", "58", tasks.Declined, 0},
		{"gone", "40", tasks.Invalid, 0},
		{"brown-out", "480", tasks.Done, 1},
	} {
		if tt.code != "" {
			vendor.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Code: tt.code, Times: 1})
		}
		_, err := run(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, tt.name))
		created := vendor.EffectsOf(dinerotest.OpInvoiceCreate, tt.name)
		if apptest.Outcome(err) != tt.want || created != tt.effects {
			t.Errorf("%s: %v with %d invoices", tt.name, err, created)
		}
	}
}

// The ExternalReference is the task's key, within its organization.
func TestReferenceIsTheKey(t *testing.T) {
	t.Parallel()
	_, c := start(t, dinerotest.Options{}, nil)
	enqueue := func(organization, reference string, opts ...tasks.Option) *tasks.Ticket[json.RawMessage] {
		t.Helper()
		ticket := apptest.EnqueueJSON(t, c, "dinero:invoice:create", invoiceFor(organization, reference), opts...)
		return ticket
	}
	first := enqueue(dinerotest.Organization, "order-1")
	if again := enqueue(dinerotest.Organization, "order-1"); again.ID != first.ID || !again.Duplicate {
		t.Errorf("%+v is not the first task", again)
	}
	for name, other := range map[string]*tasks.Ticket[json.RawMessage]{
		"another organization": enqueue(dinerotest.Organization2, "order-1"),
		"another reference":    enqueue(dinerotest.Organization, "order-2"),
		"no reference":         enqueue(dinerotest.Organization, ""),
		"no reference again":   enqueue(dinerotest.Organization, ""),
	} {
		if other.Duplicate || other.ID == first.ID {
			t.Errorf("%s: it is taken for the first task", name)
		}
	}
	otherBody := dinero.InvoiceCreate{Record: dinero.Record{
		OrganizationID: dinerotest.Organization,
		Body:           map[string]any{"ExternalReference": "order-1"},
	}}
	if _, err := tasks.Enqueue(t.Context(), c, otherBody); !errors.Is(err, tasks.ErrKeyConflict) {
		t.Errorf("the same reference with another body: %v", err)
	}
	// Neither Enqueue nor EnqueueAll lets an option replace the reference.
	list := []dinero.InvoiceCreate{otherBody}
	_, err := tasks.EnqueueAll(t.Context(), c, list, func(int) []tasks.Option {
		return []tasks.Option{tasks.Key("row-1")}
	})
	if _, refused := errors.AsType[*tasks.PayloadError](err); !refused {
		t.Errorf("the same reference with another key: %v", err)
	}
	if d := (dinero.InvoiceCreate{}).Policy(); d.KeyTTL != 90*24*time.Hour || d.Redelivery != tasks.Reconciled ||
		d.Budget != 24*time.Hour {
		t.Errorf("%+v", d)
	}
}

// An organization without a subscription does not stop the others.
func TestOneOrganizationIsParked(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, nil)
	vendor.SetSubscription(dinerotest.Organization, false)
	parked := apptest.EnqueueJSON(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1"))
	testwait.Eventually(t, 30*time.Second, "the task is parked", func() bool {
		status, err := c.Status(t.Context(), parked.ID)
		if err != nil {
			t.Fatal(err)
		}
		return status.State == tasks.Parked
	})
	if _, err := run(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization2, "order-1")); err != nil {
		t.Error(err)
	}
	vendor.SetSubscription(dinerotest.Organization, true)
	// The next one waits out the organization's rest and is then woken; the parked
	// one comes back by itself, later.
	if _, err := run(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-2")); err != nil ||
		vendor.EffectsOf(dinerotest.OpInvoiceCreate, "order-2") != 1 {
		t.Errorf("after the subscription: %v", err)
	}
}

func TestDineroCall(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, nil)
	call := func(rest string) (tasks.Reply, tasks.Outcome) {
		t.Helper()
		data, err := run(t, c, "dinero:api:call", `{"organizationId":"123456",`+rest+`}`)
		var answer tasks.Reply
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer, apptest.Outcome(err)
	}
	if _, ended := call(`"method":"POST","path":"contacts","body":{"Name":"Ana"}`); ended != tasks.Done {
		t.Errorf("a create: %s", ended)
	}
	guid := vendor.Contacts(dinerotest.Organization)[0].GUID
	if answer, ended := call(`"method":"GET","path":"/contacts/` + guid + `"`); ended != tasks.Done ||
		answer.Status != 200 ||
		!strings.Contains(string(answer.Body), guid) {
		t.Errorf("%s %+v", ended, answer)
	}
	vendor.Inject(sandbox.Fault{Op: dinerotest.OpContact, Drop: true, Times: 1})
	if _, ended := call(`"method":"GET","path":"contacts/` + guid + `"`); ended != tasks.Done {
		t.Errorf("a read is read again: %s", ended)
	}
	vendor.Inject(sandbox.Fault{
		Op:          dinerotest.OpContactCreate,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	if _, ended := call(`"method":"POST","path":"contacts","body":{"Name":"Ben"}`); ended != tasks.Unknown {
		t.Errorf("a free create without an answer: %s", ended)
	}
	for range 2 {
		if _, ended := call(`"method":"DELETE","path":"contacts/` + guid + `"`); ended != tasks.Done {
			t.Errorf("a delete: %s", ended)
		}
	}
}

// Of a hundred creates every tenth loses its answer, some before the effect and
// some after it: a hundred invoices, none twice, none missing.
func TestHundredCreatesWithLostAnswers(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{MaxPageSize: 30}, nil)
	for i := range 10 {
		vendor.Inject(sandbox.Fault{
			Op:          dinerotest.OpInvoiceCreate,
			Drop:        true,
			AfterEffect: i%2 == 0,
			Skip:        10 * i,
			Times:       1,
		})
	}
	var tickets []*tasks.Ticket[json.RawMessage]
	for i := range 100 {
		ticket := apptest.EnqueueJSON(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, fmt.Sprint("order-", i)))
		tickets = append(tickets, ticket)
	}
	for _, ticket := range tickets {
		if _, err := apptest.Wait(t, ticket); err != nil {
			t.Error(err)
		}
	}
	for i := range 100 {
		if n := vendor.EffectsOf(dinerotest.OpInvoiceCreate, fmt.Sprint("order-", i)); n != 1 {
			t.Errorf("order-%d was made %d times", i, n)
		}
	}
}

// More invoices than the organization's quota admits, all at once: each is created
// at its first attempt, none is answered 429, and another organization does not
// wait.
func TestARateKeepsTheQuota(t *testing.T) {
	t.Parallel()
	// The vendor's minute is three seconds of ours.
	began := time.Now()
	vendor, c := start(t, dinerotest.Options{
		Quota: 40,
		Now:   func() time.Time { return began.Add(20 * time.Since(began)) },
	}, map[string]string{
		"DINERO_RATE":    "30/3s",
		"DINERO_TIMEOUT": "500ms", // less than an attempt has, so that it can wait
	})
	enqueue := func(organization string, i int) *tasks.Ticket[json.RawMessage] {
		t.Helper()
		ticket := apptest.EnqueueJSON(t, c, "dinero:invoice:create", invoiceFor(organization, fmt.Sprint("order-", i)))
		return ticket
	}
	var tickets []*tasks.Ticket[json.RawMessage]
	for i := range 60 {
		tickets = append(tickets, enqueue(dinerotest.Organization, i))
	}
	other := enqueue(dinerotest.Organization2, 0)
	if _, err := apptest.Wait(t, other); err != nil {
		t.Error(err)
	}
	if made := len(vendor.Invoices(dinerotest.Organization)); made > 40 {
		t.Errorf("the other organization waited for %d invoices", made)
	}
	for _, ticket := range tickets {
		if _, err := apptest.Wait(t, ticket); err != nil {
			t.Error(err)
		}
		status, err := c.Status(t.Context(), ticket.ID)
		if err != nil || len(status.History) != 1 {
			t.Errorf("%+v, %v", status.History, err)
		}
	}
	if made := len(vendor.Invoices(dinerotest.Organization)); made != 60 {
		t.Errorf("%d invoices", made)
	}
}

// Answers are lost while other tasks wait for the rate: a create in doubt stays so
// until its lookup has its turn, and is not repeated.
func TestLookupsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	vendor, c := start(t, dinerotest.Options{}, map[string]string{
		"DINERO_RATE":    "4/1s",
		"DINERO_TIMEOUT": "500ms",
	})
	vendor.Inject(sandbox.Fault{
		Op:          dinerotest.OpInvoiceCreate,
		Drop:        true,
		AfterEffect: true,
		Times:       4,
	})
	var tickets []*tasks.Ticket[json.RawMessage]
	for i := range 12 {
		ticket := apptest.EnqueueJSON(t, c, "dinero:invoice:create", invoiceFor(dinerotest.Organization, fmt.Sprint("order-", i)))
		tickets = append(tickets, ticket)
	}
	lookedFor := 0
	for _, ticket := range tickets {
		if _, err := apptest.Wait(t, ticket); err != nil {
			t.Error(err)
		}
		status, err := c.Status(t.Context(), ticket.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.History[0].Class == "unknown" {
			lookedFor++
		}
	}
	if made := len(vendor.Invoices(dinerotest.Organization)); made != 12 || lookedFor != 4 {
		t.Errorf("%d invoices, %d in doubt", made, lookedFor)
	}
}
