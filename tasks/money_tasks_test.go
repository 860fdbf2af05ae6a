package tasks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/dckap"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/ledger"
	"errand.internal/internal/secret"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// shop is a Redis, the sandboxes of DCKAP and Dinero, and a worker whose clients
// were made from settings, as in production.
type shop struct {
	dckap  *dckaptest.Sandbox
	dinero *dinerotest.Sandbox
	client *tasks.Client
}

// Two pipes: one with a rule, one that is idempotent.
const (
	ruledPipe      = "64f1c0de0001"
	idempotentPipe = "64f1c0de0002"
	plainPipe      = "64f1c0de0003"
)

func startShop(t *testing.T, o dinerotest.Options, change ...func(*vendors.Config)) *shop {
	t.Helper()
	s := &shop{
		dinero: dinerotest.New(o),
		dckap:  dckaptest.New(dckaptest.Options{Pipes: map[string]dckaptest.Pipe{idempotentPipe: {}, plainPipe: {}}}),
	}
	mux := http.NewServeMux()
	sandbox.Mount(mux, dckaptest.Mount, s.dckap)
	sandbox.Mount(mux, dinerotest.Mount, s.dinero)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	pipes := filepath.Join(t.TempDir(), "pipes.yaml")
	text := "pipes:\n- listener: " + ruledPipe + "\n  success: {path: status, equals: success}\n- listener: " + idempotentPipe + "\n  idempotent: true\n"
	if err := os.WriteFile(pipes, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := vendors.Config{
		DCKAP: dckap.Config{
			URL:       web.URL + dckaptest.Mount + dckaptest.ListenerPath,
			Token:     secret.New(dckaptest.Token),
			PipesFile: pipes,
			Timeout:   2 * time.Second,
		},
		Dinero: dinero.Config{
			ClientID:     dinerotest.ClientID,
			ClientSecret: secret.New(dinerotest.ClientSecret),
			APIKeys: secret.New(
				dinerotest.Organization + "=" + dinerotest.APIKey + "," + dinerotest.Organization2 + "=" + dinerotest.APIKey2,
			),
			TokenURL: web.URL + dinerotest.Mount + dinerotest.TokenPath,
			APIURL:   web.URL + dinerotest.Mount,
			Timeout:  2 * time.Second,
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	s.client = workFor(t, cfg)
	return s
}

// run runs a task given as JSON.
func (s *shop) run(t *testing.T, taskType, raw string, opts ...tasks.Option) (json.RawMessage, error) {
	t.Helper()
	ticket, err := s.client.EnqueueJSON(t.Context(), taskType, []byte(raw), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return wait(t, ticket)
}

// Every task type of both vendors, from its golden payload to the request at the
// sandbox and the outcome.
func TestGoldenRequestsOfDCKAPAndDinero(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	for _, tt := range []struct {
		taskType, op string
		recorder     *sandbox.Engine
	}{
		{"dckap:dynamic:call", dckaptest.OpCall, s.dckap.Engine},
		{"dinero:api:call", dinerotest.OpContactFind, s.dinero.Engine},
		{"dinero:contact:create", dinerotest.OpContactCreate, s.dinero.Engine},
		{"dinero:invoice:create", dinerotest.OpInvoiceCreate, s.dinero.Engine},
	} {
		goldenRequest(t, s.client, tt.taskType, tt.recorder, tt.op)
	}
}

func invoiceFor(organization, reference string) string {
	text := `{"organizationId":` + organization + `,"body":{"ContactGuid":"c","ProductLines":[{"Quantity":1.50}]`
	if reference != "" {
		text += `,"ExternalReference":"` + reference + `"`
	}
	return text + `}}`
}

// The answer is lost after the invoice was made: it is found, and made once.
func TestCreateWithALostAnswerIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	s.dinero.Inject(
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
	data, err := s.run(t, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1"))
	kept := s.dinero.Invoices(dinerotest.Organization)
	if want := `{"Guid":"` + kept[0].GUID + `","TimeStamp":"` + kept[0].TimeStamp + `"}`; err != nil ||
		string(data) != want ||
		len(kept) != 1 {
		t.Errorf("%s, %v, %d invoices; want %s", data, err, len(kept), want)
	}
	ticket, err := tasks.Enqueue(
		t.Context(),
		s.client,
		tasks.ContactCreate{
			DineroRecord: tasks.DineroRecord{
				OrganizationID: dinerotest.Organization,
				Body:           map[string]any{"Name": "Ana"},
			},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	made, err := wait(t, ticket)
	if people := s.dinero.Contacts(dinerotest.Organization); err != nil || len(people) != 1 ||
		made.GUID != people[0].GUID ||
		people[0].ExternalReference != ticket.ID {
		t.Errorf("%+v, %v, %+v; want the task's ID %s as the reference", made, err, people, ticket.ID)
	}
}

// The call never had its effect: it is looked for twice, and then made.
func TestCreateThatDidNotHappenIsMadeAfterTwoLookups(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	s.dinero.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Drop: true, Times: 1})
	if _, err := s.run(t, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1")); err != nil {
		t.Error(err)
	}
	if n := s.dinero.Calls(dinerotest.OpInvoiceFind); n != 2 || s.dinero.Effects(dinerotest.OpInvoiceCreate) != 1 {
		t.Errorf("%d lookups, %d invoices; want 2 and 1", n, s.dinero.Effects(dinerotest.OpInvoiceCreate))
	}
}

// A list that lags behind shows the invoice at the second look only.
func TestCreateIsFoundLate(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{ListLag: 1})
	s.dinero.Inject(sandbox.Fault{
		Op:          dinerotest.OpInvoiceCreate,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	if _, err := s.run(t, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-1")); err != nil {
		t.Error(err)
	}
	if n := s.dinero.Effects(dinerotest.OpInvoiceCreate); n != 1 {
		t.Errorf("%d invoices", n)
	}
}

func TestCreateOutcomes(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
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
			s.dinero.Inject(sandbox.Fault{Op: dinerotest.OpInvoiceCreate, Code: tt.code, Times: 1})
		}
		if _, err := s.run(t, "dinero:invoice:create", invoiceFor(dinerotest.Organization, tt.name)); outcome(
			err,
		) != tt.want ||
			s.dinero.EffectsOf(dinerotest.OpInvoiceCreate, tt.name) != tt.effects {
			t.Errorf("%s: %v with %d invoices", tt.name, err, s.dinero.EffectsOf(dinerotest.OpInvoiceCreate, tt.name))
		}
	}
}

// The ExternalReference is the task's key, within its organization.
func TestReferenceIsTheKey(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	enqueue := func(organization, reference string, opts ...tasks.Option) *tasks.Ticket[json.RawMessage] {
		t.Helper()
		ticket, err := s.client.EnqueueJSON(
			t.Context(),
			"dinero:invoice:create",
			[]byte(invoiceFor(organization, reference)),
			opts...)
		if err != nil {
			t.Fatal(err)
		}
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
	if _, err := s.client.EnqueueJSON(t.Context(), "dinero:invoice:create", []byte(`{"organizationId":"123456","body":{"ExternalReference":"order-1"}}`)); err == nil {
		t.Error("the same reference with another body was taken")
	}
	if d := (tasks.InvoiceCreate{}).Policy(); d.KeyTTL != 90*24*time.Hour || d.Repeatable ||
		d.Budget != 24*time.Hour {
		t.Errorf("%+v", d)
	}
}

// An organization without a subscription, or over its quota, stops nobody else.
func TestOneOrganizationIsParked(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	s.dinero.SetSubscription(dinerotest.Organization, false)
	parked, err := s.client.EnqueueJSON(
		t.Context(),
		"dinero:invoice:create",
		[]byte(invoiceFor(dinerotest.Organization, "order-1")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for { // until it is parked
		status, err := s.client.Status(t.Context(), parked.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.State == ledger.Parked {
			break
		}
	}
	if _, err := s.run(t, "dinero:invoice:create", invoiceFor(dinerotest.Organization2, "order-1")); err != nil {
		t.Error(err)
	}
	s.dinero.SetSubscription(dinerotest.Organization, true)
	// The next one waits out the organization's rest and is then woken; the parked
	// one comes back by itself, later.
	if _, err := s.run(t, "dinero:invoice:create", invoiceFor(dinerotest.Organization, "order-2")); err != nil ||
		s.dinero.EffectsOf(dinerotest.OpInvoiceCreate, "order-2") != 1 {
		t.Errorf("after the subscription: %v", err)
	}
}

func TestDineroCall(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	call := func(rest string) (tasks.VendorAnswer, tasks.Outcome) {
		t.Helper()
		data, err := s.run(t, "dinero:api:call", `{"organizationId":"123456",`+rest+`}`)
		var answer tasks.VendorAnswer
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer, outcome(err)
	}
	if _, ended := call(`"method":"POST","path":"contacts","body":{"Name":"Ana"}`); ended != tasks.Done {
		t.Errorf("a create: %s", ended)
	}
	guid := s.dinero.Contacts(dinerotest.Organization)[0].GUID
	if answer, ended := call(`"method":"GET","path":"/contacts/` + guid + `"`); ended != tasks.Done ||
		answer.Status != 200 ||
		!strings.Contains(string(answer.Body), guid) {
		t.Errorf("%s %+v", ended, answer)
	}
	s.dinero.Inject(sandbox.Fault{Op: dinerotest.OpContact, Drop: true, Times: 1})
	if _, ended := call(`"method":"GET","path":"contacts/` + guid + `"`); ended != tasks.Done {
		t.Errorf("a read is read again: %s", ended)
	}
	s.dinero.Inject(sandbox.Fault{
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

func TestDynamicCall(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	call := func(listener, rest string) (tasks.PipeAnswer, tasks.Outcome) {
		t.Helper()
		data, err := s.run(t, "dckap:dynamic:call", `{"listener":"`+listener+`"`+rest+`}`)
		var answer tasks.PipeAnswer
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer, outcome(err)
	}
	if answer, ended := call(ruledPipe, `,"body":{"n":1.50}`); ended != tasks.Done || !answer.Verified ||
		answer.Status != 200 ||
		!strings.Contains(string(answer.Body), `"received":{"n":1.5`) {
		t.Errorf("%s %+v", ended, answer)
	}
	if answer, ended := call(plainPipe, ""); ended != tasks.Done || answer.Verified {
		t.Errorf("%s %+v", ended, answer)
	}
	fault := func(f sandbox.Fault) {
		f.Op = dckaptest.OpCall
		f.Times = 1
		f.AfterEffect = true
		s.dckap.Inject(f)
	}
	for _, tt := range []struct {
		name, listener, rest string
		fault                sandbox.Fault
		want                 tasks.Outcome
	}{
		{"dropped", plainPipe, "", sandbox.Fault{Drop: true}, tasks.Unknown},
		{"dropped, idempotent by the file", idempotentPipe, "", sandbox.Fault{Drop: true}, tasks.Done},
		{"dropped, idempotent by the payload", plainPipe, `,"idempotent":true`, sandbox.Fault{Drop: true}, tasks.Done},
		{"dropped, not idempotent by the payload", idempotentPipe, `,"idempotent":false`, sandbox.Fault{Drop: true}, tasks.Unknown},
		{"dropped read", plainPipe, `,"method":"GET"`, sandbox.Fault{Drop: true}, tasks.Done},
		{"reported", plainPipe, "", sandbox.Fault{Code: "failed"}, tasks.Failed},
		{"reported, idempotent by the file", idempotentPipe, "", sandbox.Fault{Code: "error"}, tasks.Done},
		{"rule unmet", ruledPipe, "", sandbox.Fault{Code: "half"}, tasks.Failed},
		{"web page", plainPipe, "", sandbox.Fault{HTML: true}, tasks.Unknown},
		{"no such pipe", "64f1c0de0009", "", sandbox.Fault{}, tasks.Invalid},
	} {
		if tt.want != tasks.Invalid {
			fault(tt.fault)
		}
		if _, ended := call(tt.listener, tt.rest); ended != tt.want {
			t.Errorf("%s: ended %s, want %s", tt.name, ended, tt.want)
		}
	}
	if _, err := s.run(t, "dckap:dynamic:call", `{"listener":"https://evil.example/v1/dynamic/listener/x"}`); outcome(
		err,
	) != tasks.Invalid {
		t.Errorf("another host: %v", err)
	}
}

// A disabled pipe stops its own tasks until it is enabled again.
func TestDisabledPipeIsParked(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{})
	s.dckap.SetPipe(ruledPipe, dckaptest.Pipe{Disabled: true})
	if _, err := tasks.Enqueue(t.Context(), s.client, tasks.DynamicCall{Listener: ruledPipe}); err != nil {
		t.Fatal(err)
	}
	if err := s.dckap.WaitAnswered(clientstest.Within(t), dckaptest.OpCall, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.run(t, "dckap:dynamic:call", `{"listener":"`+plainPipe+`"}`); err != nil {
		t.Errorf("another pipe: %v", err)
	}
	s.dckap.SetPipe(ruledPipe, dckaptest.Pipe{})
	// The next one waits out the pipe's rest and is then woken; the first comes
	// back by itself, later.
	if _, err := s.run(t, "dckap:dynamic:call", `{"listener":"`+ruledPipe+`"}`); err != nil {
		t.Errorf("after it was enabled: %v", err)
	}
}

func TestPayloadRulesOfDCKAPAndDinero(t *testing.T) {
	t.Parallel()
	const pipe, call, create = "dckap:dynamic:call", "dinero:api:call", "dinero:invoice:create"
	for _, tc := range []struct{ name, taskType, raw, want string }{
		{"pipe", pipe, `{"listener":"64f1","query":{"a":1},"body":[1]}`, ""},
		{"pipe by URL", pipe, `{"listener":"https://lightning.dckap.com/v1/dynamic/listener/64f1"}`, ""},
		{"nothing", pipe, `{}`, "listener is required"},
		{"HEAD", pipe, `{"listener":"x","method":"HEAD"}`, "method must be one of GET, POST, PUT, PATCH, DELETE"},
		{"body of a GET", pipe, `{"listener":"x","method":"GET","body":1}`, "body must not be given with GET or HEAD"},
		{"path", pipe, `{"listener":"../x"}`, "listener must be a listener's id (letters, digits, - . _ ~) or its URL"},
		{"URL with a token", pipe, `{"listener":"https://lightning.dckap.com/v1/dynamic/listener/64f1?access_token=t"}`, "listener must not contain a query or a fragment"},
		{"a token", pipe, `{"listener":"x","query":{"access_token":"t"}}`, "query.access_token must not be given: the credential is in the worker's settings"},

		{"call", call, `{"organizationId":123456,"method":"POST","path":"invoices/x/book","version":"v1.2","body":{"Timestamp":"1"},"idempotent":false}`, ""},
		{"nothing", call, `{}`, "method is required; organizationId is required; path is required"},
		{"organization", call, `{"organizationId":"12/34","method":"GET","path":"x"}`, "organizationId must be digits only"},
		{"version", call, `{"organizationId":1,"method":"GET","path":"x","version":"../v2"}`, "version must be written v1, v2 or v1.2"},
		{"another organization", call, `{"organizationId":1,"method":"GET","path":"../2/contacts"}`, "path must not contain . or .. as a part"},
		{"query in the path", call, `{"organizationId":1,"method":"GET","path":"contacts?page=1"}`, "path must be a path as in a URL, without ? and #, everything else as %XX"},
		{"body of a HEAD", call, `{"organizationId":1,"method":"HEAD","path":"x","body":{}}`, "body must not be given with GET or HEAD"},

		{"create", create, `{"organizationId":"1","body":{"Date":"2026-01-31","externalReference":"a"}}`, ""},
		{"nothing", create, `{}`, "body is required; organizationId is required"},
		{"empty body", create, `{"organizationId":1,"body":{}}`, "body must have at least 1 entries"},
		{"body a list", create, `{"organizationId":1,"body":[]}`, "body must be an object"},
		{"long reference", create, `{"organizationId":1,"body":{"ExternalReference":"` + strings.Repeat("x", 129) + `"}}`, "body.ExternalReference must have at most 128 characters"},
		{"reference a number", create, `{"organizationId":1,"body":{"ExternalReference":7}}`, "body.ExternalReference must be text"},
		{"reference twice", create, `{"organizationId":1,"body":{"ExternalReference":"a","externalreference":"b"}}`, "body.ExternalReference is given twice"},
	} {
		t.Run(tc.taskType+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := tasks.DecodePayload(tc.taskType, []byte(tc.raw))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// Of a hundred creates every tenth loses its answer, some before the effect and
// some after it: a hundred invoices, none twice, none missing.
func TestHundredCreatesWithLostAnswers(t *testing.T) {
	t.Parallel()
	s := startShop(t, dinerotest.Options{MaxPageSize: 30})
	for i := range 10 {
		s.dinero.Inject(sandbox.Fault{
			Op:          dinerotest.OpInvoiceCreate,
			Drop:        true,
			AfterEffect: i%2 == 0,
			Skip:        10 * i,
			Times:       1,
		})
	}
	var tickets []*tasks.Ticket[json.RawMessage]
	for i := range 100 {
		ticket, err := s.client.EnqueueJSON(
			t.Context(),
			"dinero:invoice:create",
			[]byte(invoiceFor(dinerotest.Organization, fmt.Sprint("order-", i))),
		)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	for _, ticket := range tickets {
		if _, err := wait(t, ticket); err != nil {
			t.Error(err)
		}
	}
	for i := range 100 {
		if n := s.dinero.EffectsOf(dinerotest.OpInvoiceCreate, fmt.Sprint("order-", i)); n != 1 {
			t.Errorf("order-%d was made %d times", i, n)
		}
	}
}
