// Package dinerotest is a sandbox of Dinero: tokens per organization, contacts
// and invoices with their ExternalReference, lists with pages, the quota. It is
// as strict as the vendor's pages, and able to go wrong on demand.
//
// Its control API, below _sandbox/, adds to that of clients/sandbox:
//
//	GET  _sandbox/invoices/{organization}       all invoices, deleted ones too
//	GET  _sandbox/contacts/{organization}       all contacts, deleted ones too
//	PUT  _sandbox/organizations/{organization}  {"noSubscription":true}: change an organization
//	POST _sandbox/revoke                        forget all tokens
package dinerotest

import (
	"encoding/json"
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

// Mount is the base path under which tests and the demo serve the sandbox;
// TokenPath is where tokens are had below it.
const (
	Mount     = "/dinero/"
	TokenPath = "dineroapi/oauth/token"
)

// The account that is good unless Options say otherwise. Client id and secret
// are those of the vendor's page.
const (
	ClientID      = "rasmus"
	ClientSecret  = "dinero"
	Organization  = "123456"
	APIKey        = "sandbox-key-123456"
	Organization2 = "654321"
	APIKey2       = "k+/=&"
)

// Quota is how many calls the vendor's page allows an organization in a minute.
const Quota = 100

// Options change a sandbox. The zero value of a field takes its default.
type Options struct {
	ClientID, ClientSecret string
	// APIKeys maps organizations to their keys.
	APIKeys map[string]string
	// TokenLife is how long a token is good, by default an hour.
	TokenLife time.Duration
	// Quota is how many calls an organization may make in a minute, wherever it
	// begins; 0 for as many as it likes.
	Quota int
	// EmptyCreated answers a create with 201 and no body, as the status page has
	// it.
	EmptyCreated bool
	// ListLag is how many lists after a create do not have the record yet.
	ListLag int
	// MaxPageSize is the most entries of one page, by default 1000.
	MaxPageSize int
	// Now is the vendor's clock, by default the machine's.
	Now func() time.Time
}

// Sandbox is one Dinero. All of sandbox.Engine is there: faults, counts,
// recorded requests, gates.
type Sandbox struct {
	*sandbox.Engine
	opts Options

	mu            sync.Mutex
	tokens        map[string]issued
	organizations map[string]*organization
	next          int
}

type issued struct {
	organization string
	until        time.Time
}

type organization struct {
	noSubscription bool
	calls          []time.Time // of the last minute
	contacts       []*Record
	invoices       []*Record
}

// Record is a contact or an invoice as the vendor keeps it.
type Record struct {
	GUID              string         `json:"Guid"`
	ExternalReference string         `json:"ExternalReference"`
	TimeStamp         string         `json:"TimeStamp"`
	Number            int            `json:"Number,omitempty"` // of a booked invoice
	UpdatedAt         time.Time      `json:"UpdatedAt"`
	DeletedAt         *time.Time     `json:"DeletedAt"`
	Body              map[string]any `json:"Body"`

	hidden int
}

// New makes a sandbox.
func New(opts Options) *Sandbox {
	if opts.ClientID == "" {
		opts.ClientID = ClientID
		opts.ClientSecret = ClientSecret
	}
	if opts.APIKeys == nil {
		opts.APIKeys = map[string]string{Organization: APIKey, Organization2: APIKey2}
	}
	if opts.TokenLife == 0 {
		opts.TokenLife = time.Hour
	}
	if opts.MaxPageSize == 0 {
		opts.MaxPageSize = 1000
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
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
	s.Handle(
		"POST {version}/{organization}/contacts",
		OpContactCreate,
		s.authorized(s.create(contactRecords)),
	)
	s.Handle(
		"GET {version}/{organization}/contacts",
		OpContactFind,
		s.authorized(s.list(contactRecords)),
	)
	s.Handle(
		"{version}/{organization}/contacts/{guid}",
		OpContact,
		s.authorized(s.one(contactRecords)),
	)
	s.Handle(
		"POST {version}/{organization}/invoices",
		OpInvoiceCreate,
		s.authorized(s.create(invoiceRecords)),
	)
	s.Handle(
		"GET {version}/{organization}/invoices",
		OpInvoiceFind,
		s.authorized(s.list(invoiceRecords)),
	)
	s.Handle(
		"{version}/{organization}/invoices/{guid}",
		OpInvoice,
		s.authorized(s.one(invoiceRecords)),
	)
	s.Handle(
		"POST {version}/{organization}/invoices/{guid}/book",
		OpInvoiceBook,
		s.authorized(s.book),
	)
	s.routeControl()
	return s
}

func (s *Sandbox) routeControl() {
	for _, r := range []records{contactRecords, invoiceRecords} {
		s.HandleControl(
			"GET "+r.path+"/{organization}",
			func(w http.ResponseWriter, q *http.Request) {
				sandbox.Reply(w, http.StatusOK, s.records(q.PathValue("organization"), r))
			},
		)
	}
	s.HandleControl(
		"PUT organizations/{organization}",
		func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				NoSubscription bool `json:"noSubscription"`
			}
			decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&in); err != nil {
				sandbox.Reply(
					w,
					http.StatusBadRequest,
					map[string]string{"error": err.Error()},
				)
				return
			}
			s.SetSubscription(r.PathValue("organization"), !in.NoSubscription)
			w.WriteHeader(http.StatusNoContent)
		},
	)
	s.HandleControl("POST revoke", func(w http.ResponseWriter, _ *http.Request) {
		s.RevokeTokens()
		w.WriteHeader(http.StatusNoContent)
	})
}

// SetSubscription gives an organization the Pro subscription or takes it.
func (s *Sandbox) SetSubscription(id string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.organizations[id]; o != nil {
		o.noSubscription = !active
	}
}

// RevokeTokens forgets all tokens.
func (s *Sandbox) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// PutToken makes token a good one of an organization.
func (s *Sandbox) PutToken(token, organization string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = issued{organization, s.opts.Now().Add(s.opts.TokenLife)}
}

// Invoices returns copies of an organization's invoices, deleted ones too.
func (s *Sandbox) Invoices(organization string) []Record {
	return s.records(organization, invoiceRecords)
}

// Contacts returns copies of an organization's contacts, deleted ones too.
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
