package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/freecall"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dckap"
	"errand.internal/tasks/dinero"
)

// Kind is a task type as tests enqueue it, with what the vendor's sandbox sees of
// it.
type Kind struct {
	// Type is the name of the task type.
	Type string
	// Engine and Op are the sandbox's operation that the task calls.
	Engine *sandbox.Engine
	Op     string
	// New returns a payload with a subject that no other task has; nil if tests make
	// the payloads themselves.
	New func() tasks.Payload
	// Subject returns the text that occurs in the task's requests and in no other
	// task's. The sandbox counts the task's effects under it.
	Subject func(id string, p tasks.Payload) string
	// Uncounted is set if the sandbox does not count effects of the operation.
	Uncounted bool
	// DeclinedCounts is set if a declined task may have had its effect.
	DeclinedCounts bool
	// CheckResult, if set, returns what is wrong with the result of a task that is
	// done.
	CheckResult func(id string, p tasks.Payload, status *tasks.Status) error
	// ResultSecrets, if set, returns what the vendor holds for the task and neither
	// Redis nor a log may reveal.
	ResultSecrets func(status *tasks.Status) []string
}

// Queue is the queue of the tasks.
func (k *Kind) Queue() string {
	info, _ := all.Vendors.Find(k.Type) // AddKind has found it
	return info.Example.Policy().Queue
}

// Calls is how many calls have arrived at the vendor.
func (k *Kind) Calls() int {
	return k.Engine.Calls(k.Op)
}

// Effects is how many effects the vendor has counted.
func (k *Kind) Effects() int {
	return k.Engine.Effects(k.Op)
}

// WaitCalls waits until at least n calls have arrived.
func (k *Kind) WaitCalls(ctx context.Context, n int) error {
	return k.Engine.WaitCalls(ctx, k.Op, n)
}

// WaitAnswered waits until at least n calls are over.
func (k *Kind) WaitAnswered(ctx context.Context, n int) error {
	return k.Engine.WaitAnswered(ctx, k.Op, n)
}

// WaitEffects waits until the vendor has counted at least n effects.
func (k *Kind) WaitEffects(ctx context.Context, n int) error {
	return k.Engine.WaitEffects(ctx, k.Op, n)
}

// Hold holds calls back before they take effect.
func (k *Kind) Hold() *sandbox.Gate {
	return k.Engine.Hold(k.Op)
}

// HoldAnswer holds back the answers of calls that have taken effect.
func (k *Kind) HoldAnswer() *sandbox.Gate {
	return k.Engine.HoldAnswer(k.Op)
}

// Inject arms a fault of the calls.
func (k *Kind) Inject(fault sandbox.Fault) {
	fault.Op = k.Op
	k.Engine.Inject(fault)
}

// Kinds are the kinds that every Fixture has.
type Kinds struct {
	// Passcodes send one-time passcodes, at most once. The login is HTTP Basic.
	Passcodes *Kind
	// Verifications check passcodes, at most once. New is nil.
	Verifications *Kind
	// Updates replace records of DANAConnect's API 2.0, at least once. The login is
	// a token.
	Updates *Kind
	// Reads list contacts at Dinero, at least once. The login is a token. They have
	// no effect.
	Reads *Kind
	// PipeCalls call pipes of DCKAP, at most once. The login is a fixed token.
	PipeCalls *Kind
	// Invoices and Contacts create records at Dinero, which are reconciled. An
	// invoice has an ExternalReference; a contact gets the task's ID as one.
	Invoices *Kind
	Contacts *Kind
}

// maxRequests is more than any test has a vendor's sandbox get.
const maxRequests = 500_000

// AddKind makes Check and CheckSecrets know the tasks of a type.
func (f *Fixture) AddKind(k *Kind) *Kind {
	f.tb.Helper()
	if _, ok := all.Vendors.Find(k.Type); !ok {
		f.tb.Fatalf("there is no task type %s", k.Type)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kinds[k.Type] = k
	k.Engine.Keep(maxRequests)
	return k
}

// KindOf returns the kind of an enqueued task, nil if it has none.
func (f *Fixture) KindOf(id string) *Kind {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.payloads[id]
	if p == nil {
		return nil
	}
	return f.kinds[p.Type()]
}

// Subject returns the subject of an enqueued task.
func (f *Fixture) Subject(id string) string {
	k := f.KindOf(id)
	return k.Subject(id, f.payload(id))
}

// EffectsOf is how many effects the vendor has counted on the task's subject.
func (f *Fixture) EffectsOf(id string) int {
	k := f.KindOf(id)
	return k.Engine.EffectsOf(k.Op, f.Subject(id))
}

// Arrived reports whether the vendor has recorded a request of the task.
func (f *Fixture) Arrived(id string) bool {
	return f.CallsOf(id) > 0
}

// CallsOf is how many requests of the task the vendor has had.
func (f *Fixture) CallsOf(id string) int {
	k := f.KindOf(id)
	return k.Engine.CallsOf(k.Op, f.Subject(id))
}

func (f *Fixture) payload(id string) tasks.Payload {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.payloads[id]
}

// Number returns a number of seven digits that the fixture has not returned before.
func (f *Fixture) Number() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return 1_000_000 + f.next
}

// Name returns a text with the canary that the fixture has not returned before and
// that is not part of another one.
func (f *Fixture) Name(what string) string {
	return fmt.Sprintf("%s-%s-%d", f.Canary, what, f.Number())
}

// Organizations are the IDs of the organizations at Dinero.
func (f *Fixture) Organizations() []string {
	var ids []string
	for key := range strings.SplitSeq(f.settings["DINERO_API_KEYS"], ",") {
		id, _, _ := strings.Cut(key, "=")
		ids = append(ids, id)
	}
	return ids
}

// organization returns the organizations in turn.
func (f *Fixture) organization() tasks.ID {
	ids := f.Organizations()
	return tasks.ID(ids[f.Number()%len(ids)])
}

func (f *Fixture) addKinds() {
	dana := sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
	pipes := sandbox.Find[*dckaptest.Sandbox](f.Sandboxes)
	money := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
	f.Kinds = Kinds{
		Passcodes:     f.passcodes(dana),
		Verifications: f.verifications(dana),
		Updates:       f.updates(dana),
		PipeCalls:     f.pipeCalls(pipes),
		Reads:         f.reads(money),
		Invoices:      f.invoices(money),
		Contacts:      f.contacts(money),
	}
}

// NewPasscode returns a passcode for a recipient of its own. The code has 12
// letters and digits, so that CheckSecrets does not find it by chance.
func (f *Fixture) NewPasscode() danaconnect.OTPSend {
	return danaconnect.OTPSend{
		IDConversation:    danaconnecttest.Conversation,
		OTPType:           2,
		Length:            12,
		SecondsExpiration: new(3200),
		Values: danaconnect.Values{
			{Key: "COD1_EMAIL", Value: f.Name("person") + "@example.com"},
		},
	}
}

func (f *Fixture) passcodes(s *danaconnecttest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:   danaconnect.OTPSend{}.Type(),
		Engine: s.Engine,
		Op:     danaconnecttest.OpSend,
		New:    func() tasks.Payload { return f.NewPasscode() },
		Subject: func(_ string, p tasks.Payload) string {
			return p.(danaconnect.OTPSend).Values[0].Value
		},
		CheckResult: func(_ string, p tasks.Payload, status *tasks.Status) error {
			sent, _ := s.Lookup(RequestID(status))
			if sent.Recipient != p.(danaconnect.OTPSend).Values[0].Value {
				return errors.New("its idRequest names the code of another recipient, or none")
			}
			return nil
		},
		ResultSecrets: func(status *tasks.Status) []string {
			if code := s.Code(RequestID(status)); code != "" {
				return []string{code}
			}
			return nil
		},
	})
}

// RequestID returns the idRequest in the result of a passcode, "" if there is none.
func RequestID(status *tasks.Status) string {
	var sent danaconnect.OTPSent
	if json.Unmarshal(status.Data, &sent) != nil {
		return ""
	}
	return sent.IDRequest
}

func (f *Fixture) verifications(s *danaconnecttest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:   danaconnect.OTPVerify{}.Type(),
		Engine: s.Engine,
		Op:     danaconnecttest.OpVerify,
		Subject: func(_ string, p tasks.Payload) string {
			return string(p.(danaconnect.OTPVerify).IDRequest)
		},
		DeclinedCounts: true, // a wrong code uses up a try; an expired or used one does not
	})
}

func (f *Fixture) updates(s *danaconnecttest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:   danaconnect.APICall{}.Type(),
		Engine: s.Engine,
		Op:     danaconnecttest.OpCall,
		New: func() tasks.Payload {
			id := f.Name("record")
			s.PutRecord(id, json.RawMessage(`{}`))
			return danaconnect.APICall{
				Method:     "PUT",
				Path:       "records/" + id,
				Body:       map[string]any{"name": f.Name("person")},
				Idempotent: new(true),
			}
		},
		Subject: func(_ string, p tasks.Payload) string {
			return strings.TrimPrefix(p.(danaconnect.APICall).Path, "records/")
		},
	})
}

func (f *Fixture) pipeCalls(s *dckaptest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:   dckap.DynamicCall{}.Type(),
		Engine: s.Engine,
		Op:     dckaptest.OpCall,
		New: func() tasks.Payload {
			listener := fmt.Sprintf("64f1c0de%07d", f.Number())
			s.SetPipe(listener, dckaptest.Pipe{})
			return dckap.DynamicCall{
				Listener: listener,
				Body:     map[string]any{"name": f.Name("person")},
			}
		},
		Subject: func(_ string, p tasks.Payload) string {
			return p.(dckap.DynamicCall).Listener
		},
	})
}

func (f *Fixture) reads(s *dinerotest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:      dinero.APICall{}.Type(),
		Engine:    s.Engine,
		Op:        dinerotest.OpContactFind,
		Uncounted: true,
		New: func() tasks.Payload {
			return dinero.APICall{
				OrganizationID: f.organization(),
				Method:         "GET",
				Path:           "contacts",
				Query:          freecall.Query{"page": f.Number()},
			}
		},
		Subject: func(_ string, p tasks.Payload) string {
			return fmt.Sprintf("page=%v", p.(dinero.APICall).Query["page"])
		},
	})
}

// NewInvoice returns a draft with an ExternalReference of its own. The
// organizations take turns.
func (f *Fixture) NewInvoice() dinero.InvoiceCreate {
	return dinero.InvoiceCreate{Record: dinero.Record{
		OrganizationID: f.organization(),
		Body: map[string]any{
			"ContactGuid":       "00000000-0000-4000-8000-000000000001",
			"Date":              "2026-01-31",
			"ExternalReference": f.Name("order"),
			"ProductLines": []any{map[string]any{
				"Description":     f.Name("product"),
				"Quantity":        json.Number("1.50"),
				"BaseAmountValue": json.Number("800"),
			}},
		},
	}}
}

func (f *Fixture) invoices(s *dinerotest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:   dinero.InvoiceCreate{}.Type(),
		Engine: s.Engine,
		Op:     dinerotest.OpInvoiceCreate,
		New:    func() tasks.Payload { return f.NewInvoice() },
		Subject: func(_ string, p tasks.Payload) string {
			reference, _ := p.(dinero.InvoiceCreate).Body["ExternalReference"].(string)
			return reference
		},
		CheckResult: func(_ string, p tasks.Payload, status *tasks.Status) error {
			create := p.(dinero.InvoiceCreate)
			reference, _ := create.Body["ExternalReference"].(string)
			return checkCreated(s.Invoices(string(create.OrganizationID)), reference, status)
		},
	})
}

// NewContact returns a contact without an ExternalReference.
func (f *Fixture) NewContact() dinero.ContactCreate {
	return dinero.ContactCreate{Record: dinero.Record{
		OrganizationID: f.organization(),
		Body: map[string]any{
			"Name":       f.Name("person"),
			"IsPerson":   true,
			"CountryKey": "DK",
		},
	}}
}

func (f *Fixture) contacts(s *dinerotest.Sandbox) *Kind {
	return f.AddKind(&Kind{
		Type:    dinero.ContactCreate{}.Type(),
		Engine:  s.Engine,
		Op:      dinerotest.OpContactCreate,
		New:     func() tasks.Payload { return f.NewContact() },
		Subject: func(id string, _ tasks.Payload) string { return id },
		CheckResult: func(id string, p tasks.Payload, status *tasks.Status) error {
			create := p.(dinero.ContactCreate)
			return checkCreated(s.Contacts(string(create.OrganizationID)), id, status)
		},
	})
}

// checkCreated reports a result that does not name the record with the reference
// among those of the task's organization.
func checkCreated(records []dinerotest.Record, reference string, status *tasks.Status) error {
	var created dinero.Created
	if err := json.Unmarshal(status.Data, &created); err != nil {
		return fmt.Errorf("decode its result: %w", err)
	}
	for _, record := range records {
		if record.GUID == created.GUID && record.ExternalReference == reference {
			return nil
		}
	}
	return errors.New("its Guid names the record of another task, or none")
}
