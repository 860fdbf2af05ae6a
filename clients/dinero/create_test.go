package dinero_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

func TestCreateAndReconcile(t *testing.T) {
	t.Parallel()
	f := start(t, options())
	made, err := f.client.CreateInvoice(t.Context(), invoice())
	if err != nil || made.GUID == "" || made.TimeStamp == "" ||
		f.EffectsOf(dinerotest.OpInvoiceCreate, "dinero-task-1") != 1 {
		t.Fatalf("%+v, %v", made, err)
	}
	found, ok, err := f.client.ReconcileInvoice(t.Context(), org, "dinero-task-1")
	if err != nil || !ok || found != made {
		t.Errorf("%+v, %v, %v; want %+v", found, ok, err, made)
	}
	person, err := f.client.CreateContact(t.Context(), contact())
	if err != nil || person.GUID == "" || f.EffectsOf(dinerotest.OpContactCreate, "dinero-task-2") != 1 {
		t.Fatalf("%+v, %v", person, err)
	}
	if found, ok, err = f.client.ReconcileContact(t.Context(), org, "dinero-task-2"); err != nil || !ok || found != person {
		t.Errorf("%+v, %v, %v; want %+v", found, ok, err, person)
	}
	for _, reference := range []string{"dinero-task-1", "dinero-task-", "DINERO-TASK-2"} {
		if found, ok, err := f.client.ReconcileContact(t.Context(), org, reference); ok || err != nil ||
			found != (dinero.Created{}) {
			t.Errorf("%s: %+v, %v, %v", reference, found, ok, err)
		}
	}
	if _, ok, err := f.client.ReconcileInvoice(t.Context(), otherOrg, "dinero-task-1"); ok || err != nil {
		t.Errorf("another organization has the invoice: %v", err)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("å", 128)
	for _, tt := range []struct {
		name string
		body map[string]any
		task string
		want string // "" if it is refused
	}{
		{"the task's", map[string]any{"Name": "n"}, "t1", "t1"},
		{"the body's", map[string]any{"Name": "n", "ExternalReference": "mine"}, "t1", "mine"},
		{"the body's, camel case", map[string]any{"Name": "n", "externalReference": "mine"}, "t1", "mine"},
		{"the body's only", map[string]any{"Name": "n", "ExternalReference": "mine"}, "", "mine"},
		{"the body's null", map[string]any{"Name": "n", "externalReference": nil}, "t1", "t1"},
		{"128 characters", map[string]any{"Name": "n", "ExternalReference": long}, "t1", long},
		{"129 characters", map[string]any{"Name": "n", "ExternalReference": long + "x"}, "t1", ""},
		{"empty", map[string]any{"Name": "n", "ExternalReference": ""}, "t1", ""},
		{"a number", map[string]any{"Name": "n", "ExternalReference": json.Number("7")}, "t1", ""},
		{"spaces around", map[string]any{"Name": "n", "ExternalReference": " x"}, "t1", ""},
		{"a line break", map[string]any{"Name": "n", "ExternalReference": "x\ny"}, "t1", ""},
		{"twice", map[string]any{"Name": "n", "ExternalReference": "x", "externalReference": "x"}, "t1", ""},
		{"none at all", map[string]any{"Name": "n"}, "", ""},
		{"no body", nil, "t1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, options())
			before := fmt.Sprint(tt.body)
			_, err := f.client.CreateContact(
				t.Context(),
				dinero.CreateRequest{Organization: org, Reference: tt.task, Body: tt.body},
			)
			if fmt.Sprint(tt.body) != before {
				t.Error("the call changed its argument")
			}
			if tt.want == "" {
				if e := wantKind(t, err, clients.Invalid); !e.NotSent || len(f.Requests("")) != 0 {
					t.Errorf("%+v", *e)
				}
				return
			}
			if kept := f.Contacts(org); err != nil || len(kept) != 1 || kept[0].ExternalReference != tt.want {
				t.Errorf("%v, %+v", err, kept)
			}
			if _, found, err := f.client.ReconcileContact(t.Context(), org, tt.want); !found || err != nil {
				t.Errorf("not reconciled: %v", err)
			}
		})
	}
}

// A lost answer is Unknown, and the record can be reconciled.
func TestLostAnswerIsReconciled(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]sandbox.Fault{
		"dropped":               {Drop: true, AfterEffect: true},
		"500":                   {Status: 500, AfterEffect: true},
		"web page":              {HTML: true, AfterEffect: true},
		"truncated":             {Truncate: true},
		"200 without a body":    {Status: 200, AfterEffect: true},
		"201 without a Guid":    {Status: 201, Body: new(`{}`), AfterEffect: true},
		"201 with null":         {Status: 201, Body: new(`{"Guid":null}`), AfterEffect: true},
		"201 with invalid JSON": {Status: 201, Body: new(`{"Guid":`), AfterEffect: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, options())
			lost.Op, lost.Times = dinerotest.OpInvoiceCreate, 1
			f.Inject(lost)
			made, err := f.client.CreateInvoice(t.Context(), invoice())
			if e := wantKind(t, err, clients.Unknown); e.NotSent || made != (dinero.Created{}) {
				t.Errorf("%+v beside %+v", made, *e)
			}
			found, ok, err := f.client.ReconcileInvoice(t.Context(), org, "dinero-task-1")
			if kept := f.Invoices(org); err != nil || !ok || found.GUID != kept[0].GUID ||
				found.TimeStamp != kept[0].TimeStamp ||
				len(kept) != 1 {
				t.Errorf("%+v, %v, %v", found, ok, err)
			}
		})
	}
}

// The vendor's status page says that a 201 has no body. The record exists and must
// not be created again, whether it is found or not.
func TestEmptyCreatedIsASuccess(t *testing.T) {
	t.Parallel()
	for hide, want := range map[int]bool{0: true, 9: false} {
		o := options()
		o.EmptyCreated, o.ListLag = true, hide
		f := start(t, o)
		made, err := f.client.CreateInvoice(t.Context(), invoice())
		if err != nil || (made.GUID != "") != want || (want && made.TimeStamp == "") {
			t.Errorf("hidden %d times: %+v, %v", hide, made, err)
		}
		person, err := f.client.CreateContact(t.Context(), contact())
		if err != nil || (person.GUID != "") != want {
			t.Errorf("hidden %d times: %+v, %v", hide, person, err)
		}
	}
	o := options()
	o.EmptyCreated = true
	f := start(t, o)
	f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceFind, Drop: true})
	if made, err := f.client.CreateInvoice(t.Context(), invoice()); err != nil || made.GUID != "" {
		t.Errorf("%+v, %v", made, err)
	}
}

func TestAnswersToACreate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ body, guid, stamp string }{
		{`{"Guid":"g","TimeStamp":"00000000020A5EA8"}`, "g", "00000000020A5EA8"},
		{`{"guid":"g","timeStamp":"1"}`, "g", "1"},
		{`{"Guid":"g","Timestamp":"1"}`, "g", "1"},
		{`{"ContactGuid":"g"}`, "g", ""},
		{`{"ContactGUID":"g"}`, "g", ""},
		{`{"Guid":"g","TimeStamp":null,"DeletedAt":null,"ExternalReference":null}`, "g", ""},
	} {
		f := start(t, options())
		f.Inject(sandbox.Fault{Status: 201, Body: new(tt.body)})
		made, err := f.client.CreateInvoice(t.Context(), invoice())
		if err != nil || made.GUID != tt.guid || made.TimeStamp != tt.stamp {
			t.Errorf("%s: %+v, %v", tt.body, made, err)
		}
	}
}

func TestReconcileReadsAllPages(t *testing.T) {
	t.Parallel()
	o := options()
	o.MaxPageSize = 7 // less than the client requests
	f := start(t, o)
	for i := range 30 {
		c := invoice()
		c.Reference = fmt.Sprint("r", i)
		if _, err := f.client.CreateInvoice(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{0, 6, 7, 29} {
		if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, fmt.Sprint("r", i)); !ok || err != nil {
			t.Errorf("r%d: %v, %v", i, ok, err)
		}
	}
	before := f.Calls(dinerotest.OpInvoiceFind)
	if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, "r30"); ok || err != nil {
		t.Errorf("r30: %v, %v", ok, err)
	}
	if n := f.Calls(dinerotest.OpInvoiceFind) - before; n != 5 {
		t.Errorf("%d pages were read, want 5", n)
	}
}

func TestReconcileIgnoresDeletedRecords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	o := options()
	o.Now, o.TokenLife = func() time.Time { return now }, 1000*time.Hour
	f := start(t, o)
	f.client.SetNow(func() time.Time { return now })
	made, err := f.client.CreateInvoice(t.Context(), invoice())
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(29 * 24 * time.Hour)
	if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, "dinero-task-1"); !ok || err != nil {
		t.Errorf("after 29 days: %v, %v", ok, err)
	}
	if _, err := f.client.Call(t.Context(), dinero.Request{Organization: org, Method: http.MethodDelete, Path: "invoices/" + made.GUID}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, "dinero-task-1"); ok || err != nil {
		t.Errorf("after it was deleted: %v, %v", ok, err)
	}
	// The lists of v2 contain deleted records.
	f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceFind, Body: new(
		`{"Collection":[{"Guid":"g","ExternalReference":"dinero-task-1","DeletedAt":"2026-05-04T00:00:00.1"}],"Pagination":{"PageSize":100,"Result":1}}`,
	)})
	if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, "dinero-task-1"); ok || err != nil {
		t.Errorf("a deleted record in the list: %v, %v", ok, err)
	}
}

// "Not found" leads to a second create, so reconcile must not return it unless it
// has read the whole list.
func TestNotFoundNeedsTheWholeList(t *testing.T) {
	t.Parallel()
	page := func(n, total int) *string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"Guid":"g%d","ExternalReference":"r%d"}`, i, i)
		}
		return new(
			fmt.Sprintf(
				`{"Collection":[%s],"Pagination":{"PageSize":100,"Result":%d}}`,
				strings.Join(entries, ","),
				total,
			),
		)
	}
	for _, tt := range []struct {
		name string
		body *string
		kind clients.Kind
	}{
		{"fewer than Result says", page(3, 4), clients.Temporary},
		{"the same page repeatedly", page(100, 100), clients.Temporary},
		{"no Collection", new(`{"Pagination":{"PageSize":100,"Result":0}}`), clients.Unknown},
		{"Collection null", new(`{"Collection":null,"Pagination":{"PageSize":100,"Result":0}}`), clients.Unknown},
		{"no Pagination", new(`{"Collection":[]}`), clients.Unknown},
		{"Pagination invalid", new(`{"Collection":[],"Pagination":{"PageSize":"x"}}`), clients.Unknown},
		{"negative", new(`{"Collection":[],"Pagination":{"PageSize":100,"Result":-1}}`), clients.Unknown},
		{"an entry without an id", new(`{"Collection":[{"ExternalReference":"x"}],"Pagination":{"PageSize":100,"Result":1}}`), clients.Unknown},
		{"an entry that is no object", new(`{"Collection":[7],"Pagination":{"PageSize":100,"Result":1}}`), clients.Unknown},
		{"a reference of another type", new(`{"Collection":[{"Guid":"g","ExternalReference":7}],"Pagination":{"PageSize":100,"Result":1}}`), clients.Unknown},
		{"empty", new(``), clients.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, options())
			f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceFind, Body: tt.body})
			found, ok, err := f.client.ReconcileInvoice(t.Context(), org, "x")
			if wantKind(t, err, tt.kind); ok || found != (dinero.Created{}) {
				t.Errorf("%+v, %v beside an error", found, ok)
			}
		})
	}
	t.Run("a list that changes once", func(t *testing.T) {
		t.Parallel()
		f := start(t, options())
		f.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceFind, Body: page(3, 4), Times: 1})
		if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, "x"); ok || err != nil ||
			f.Calls(dinerotest.OpInvoiceFind) != 2 {
			t.Errorf("%v, %v", ok, err)
		}
	})
	t.Run("an error on the second page", func(t *testing.T) {
		t.Parallel()
		f := start(t, options())
		f.Inject(
			sandbox.Fault{Op: dinerotest.OpInvoiceFind, Body: page(100, 200), Times: 1},
			sandbox.Fault{Op: dinerotest.OpInvoiceFind, Code: "429"},
		)
		if _, ok, err := f.client.ReconcileInvoice(t.Context(), org, "x"); wantKind(t, err, clients.Blocked) == nil || ok {
			t.Error("found")
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		f := start(t, options())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok, err := f.client.ReconcileInvoice(ctx, org, "x"); err == nil || ok {
			t.Error("no error although the context is cancelled")
		}
	})
}
