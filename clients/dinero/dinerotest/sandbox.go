// Package dinerotest is a sandbox of Dinero: tokens per organization, contacts and
// invoices with their ExternalReference, paged lists and the quota. It is as strict
// as the vendor's pages and fails on demand.
//
// Its control API, below _sandbox/, extends that of clients/sandbox:
//
//	GET  _sandbox/invoices/{organization}       list all invoices, including deleted ones
//	GET  _sandbox/contacts/{organization}       list all contacts, including deleted ones
//	PUT  _sandbox/organizations/{organization}  {"noSubscription":true}: change an organization
//	POST _sandbox/revoke                        revoke all tokens
package dinerotest

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"

	"errand.internal/clients/sandbox"
)

// The operations, as sandbox.Fault names them. The subject of a create's effect
// is the ExternalReference, that of a login the organization.
const (
	OpToken         = "token"
	OpContactCreate = "contact create"
	OpContactFind   = "contact find"
	OpContact       = "contact"
	OpInvoiceCreate = "invoice create"
	OpInvoiceFind   = "invoice find"
	OpInvoice       = "invoice"
	OpInvoiceBook   = "invoice book"
)

// Mount is the base path under which tests and the demo serve the sandbox.
// TokenPath is the path of the token endpoint below it.
const (
	Mount     = "/dinero/"
	TokenPath = "dineroapi/oauth/token"
)

// The account of a sandbox, unless Options override it. Client id and secret are
// those of the vendor's page.
const (
	ClientID      = "rasmus"
	ClientSecret  = "dinero"
	Organization  = "123456"
	APIKey        = "sandbox-key-123456"
	Organization2 = "654321"
	APIKey2       = "k+/=&"
)

// Quota is the number of calls that the vendor allows an organization per minute.
const Quota = 100

// Options configure a sandbox. The zero value of a field means its default.
type Options struct {
	ClientID     string
	ClientSecret string
	// APIKeys maps organizations to their keys.
	APIKeys map[string]string
	// TokenLife is the lifetime of a token, by default an hour.
	TokenLife time.Duration
	// Quota is the number of calls that an organization may make in any QuotaWindow; 0
	// means unlimited. Quotas has those of single organizations instead.
	Quota  int
	Quotas map[string]int
	// QuotaWindow is by default a minute.
	QuotaWindow time.Duration
	// QuotaRetryAfter has the answer beyond the quota say when there is a call again, in
	// seconds. The vendor's page promises no such header.
	QuotaRetryAfter bool
	// EmptyCreated answers a create with 201 and no body, as on the vendor's status
	// page.
	EmptyCreated bool
	// ListLag is the number of lists after a create that do not contain the record
	// yet.
	ListLag int
	// MaxPageSize limits the entries of one page, by default to 1000.
	MaxPageSize int
	// Now is the vendor's clock, by default time.Now.
	Now func() time.Time
}

// Sandbox is one Dinero, with the faults, counters, recorded requests and gates of
// sandbox.Engine.
type Sandbox struct {
	*sandbox.Engine
	opts Options

	mu            sync.Mutex
	tokens        map[string]issued
	organizations map[string]*organization
	next          int // last number of a GUID or TimeStamp
}

type issued struct {
	organization string
	until        time.Time
}

type organization struct {
	noSubscription bool
	calls          []time.Time // within the last QuotaWindow
	exceeded       int         // calls beyond the quota
	contacts       []*Record
	invoices       []*Record
}

// Record is a contact or an invoice as the vendor stores it.
type Record struct {
	GUID              string         `json:"Guid"`
	ExternalReference string         `json:"ExternalReference"`
	TimeStamp         string         `json:"TimeStamp"`
	Number            int            `json:"Number,omitempty"` // of a booked invoice
	UpdatedAt         time.Time      `json:"UpdatedAt"`
	DeletedAt         *time.Time     `json:"DeletedAt"`
	Body              map[string]any `json:"Body"`

	hidden int // lists that still omit the record
}

// New returns a sandbox.
func New(opts Options) *Sandbox {
	opts = opts.withDefaults()
	s := &Sandbox{
		opts:          opts,
		tokens:        map[string]issued{},
		organizations: map[string]*organization{},
	}
	for id := range opts.APIKeys {
		s.organizations[id] = &organization{}
	}
	s.Engine = sandbox.New(s.recode)
	s.Handle(TokenPath, OpToken, s.token)
	s.route(contactRecords, OpContactCreate, OpContactFind, OpContact)
	s.route(invoiceRecords, OpInvoiceCreate, OpInvoiceFind, OpInvoice)
	s.Handle("POST "+organizationPath+"invoices/{guid}/book", OpInvoiceBook, s.authorized(s.book))
	s.routeControl()
	return s
}

func (o Options) withDefaults() Options {
	if o.ClientID == "" {
		o.ClientID = ClientID
		o.ClientSecret = ClientSecret
	}
	if o.APIKeys == nil {
		o.APIKeys = map[string]string{Organization: APIKey, Organization2: APIKey2}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.TokenLife = cmp.Or(o.TokenLife, time.Hour)
	o.MaxPageSize = cmp.Or(o.MaxPageSize, 1000)
	o.QuotaWindow = cmp.Or(o.QuotaWindow, time.Minute)
	return o
}

// organizationPath is the path of an organization's records.
const organizationPath = "{version}/{organization}/"

// route adds the operations on one kind of record.
func (s *Sandbox) route(r records, createOp, findOp, recordOp string) {
	list := organizationPath + r.path
	s.Handle("POST "+list, createOp, s.authorized(s.create(r)))
	s.Handle("GET "+list, findOp, s.authorized(s.list(r)))
	s.Handle(list+"/{guid}", recordOp, s.authorized(s.one(r)))
}

func (s *Sandbox) routeControl() {
	for _, r := range []records{contactRecords, invoiceRecords} {
		s.HandleControl("GET "+r.path+"/{organization}", func(w http.ResponseWriter, q *http.Request) {
			sandbox.Reply(w, http.StatusOK, s.records(q.PathValue("organization"), r))
		})
	}
	s.HandleControl("PUT organizations/{organization}", s.controlOrganization)
	s.HandleControl("POST revoke", func(w http.ResponseWriter, _ *http.Request) {
		s.RevokeTokens()
		w.WriteHeader(http.StatusNoContent)
	})
}

// controlOrganization changes an organization on request of the control API.
func (s *Sandbox) controlOrganization(w http.ResponseWriter, r *http.Request) {
	var change struct {
		NoSubscription bool `json:"noSubscription"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&change); err != nil {
		sandbox.Reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	s.SetSubscription(r.PathValue("organization"), !change.NoSubscription)
	w.WriteHeader(http.StatusNoContent)
}

// SetSubscription adds or removes the Pro subscription of an organization.
func (s *Sandbox) SetSubscription(id string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.organizations[id]; o != nil {
		o.noSubscription = !active
	}
}

// Exceeded returns how many calls of an organization were beyond its quota.
func (s *Sandbox) Exceeded(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.organizations[id].exceeded
}

// RevokeTokens invalidates all tokens.
func (s *Sandbox) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// SetClientSecret changes the secret of the client. The old one, and all tokens, are refused
// from now on.
func (s *Sandbox) SetClientSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.ClientSecret = secret
	clear(s.tokens)
}

// SetAPIKey changes the key of an organization. The old one, and all tokens, are refused from
// now on.
func (s *Sandbox) SetAPIKey(organization, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.APIKeys = maps.Clone(s.opts.APIKeys)
	s.opts.APIKeys[organization] = key
	clear(s.tokens)
}

// PutToken makes token valid for an organization.
func (s *Sandbox) PutToken(token, organization string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = issued{organization, s.opts.Now().Add(s.opts.TokenLife)}
}

// Invoices returns copies of an organization's invoices, including deleted ones.
func (s *Sandbox) Invoices(organization string) []Record {
	return s.records(organization, invoiceRecords)
}

// Contacts returns copies of an organization's contacts, including deleted ones.
func (s *Sandbox) Contacts(organization string) []Record {
	return s.records(organization, contactRecords)
}

func (s *Sandbox) records(id string, r records) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Record{}
	if o := s.organizations[id]; o != nil {
		for _, record := range *r.of(o) {
			out = append(out, *record)
		}
	}
	return out
}
