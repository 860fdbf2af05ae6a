package dinero

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"

	"errand.internal/clients"
)

// recordKind is a kind of record that can be created and reconciled.
type recordKind struct {
	createOp string
	findOp   string
	path     string
	// guid is the name of the id in a list.
	guid string
	// since is the time layout of changesSince.
	since string
}

var (
	contacts = recordKind{
		createOp: OpContactCreate,
		findOp:   OpContactFind,
		path:     "contacts",
		guid:     "ContactGuid",
		since:    "2006-01-02T15:04:05Z",
	}
	invoices = recordKind{
		createOp: OpInvoiceCreate,
		findOp:   OpInvoiceFind,
		path:     "invoices",
		guid:     "Guid",
		since:    "2006-01-02T15:04:05",
	}
)

// CreateContact creates a contact. After an Unknown the contact may exist;
// ReconcileContact tells. A second call creates a second contact.
//
// https://api.dinero.dk/v1/docs
func (c *Client) CreateContact(ctx context.Context, r CreateRequest) (Created, error) {
	return c.create(ctx, contacts, r)
}

// CreateInvoice creates a draft of an invoice. After an Unknown the draft may
// exist; ReconcileInvoice tells. A second call creates a second draft.
//
// https://api.dinero.dk/v1/docs/api/POST-v1-organizationId-invoices
func (c *Client) CreateInvoice(ctx context.Context, r CreateRequest) (Created, error) {
	return c.create(ctx, invoices, r)
}

func (c *Client) create(ctx context.Context, kind recordKind, r CreateRequest) (Created, error) {
	reference, body, err := r.encode()
	if err != nil {
		return Created{}, clients.InvalidRequest(Vendor, kind.createOp, err.Error())
	}
	target, err := c.resolve("v1", r.Organization, kind.path)
	if err != nil {
		return Created{}, clients.InvalidRequest(Vendor, kind.createOp, err.Error())
	}
	answer, err := c.do(ctx, apiRequest{
		op:           kind.createOp,
		organization: r.Organization,
		method:       http.MethodPost,
		url:          target,
		body:         body,
	})
	if err != nil {
		return Created{}, err
	}
	created, err := readCreated(answer)
	switch {
	case created.GUID != "":
		return created, nil
	case answer.Status == http.StatusCreated && !answer.Incomplete && len(bytes.TrimSpace(answer.Body)) == 0:
		// The vendor's status page says that a 201 has no body. The record exists and
		// only its id is unknown, so this is a success even if it is not found.
		found, _, _ := c.reconcile(ctx, kind, r.Organization, reference)
		return found, nil
	case err != nil:
		return Created{}, clients.UnreadableError(Vendor, kind.createOp, answer, err.Error())
	}
	return Created{}, clients.UnreadableError(Vendor, kind.createOp, answer, "it names no Guid")
}

// encode returns the body to send, and the ExternalReference in it.
func (r CreateRequest) encode() (reference string, body []byte, err error) {
	if len(r.Body) == 0 {
		return "", nil, errors.New("there is no body")
	}
	if reference, err = ReferenceOf(r.Body); err != nil {
		return "", nil, errors.New("ExternalReference " + err.Error())
	}
	fields := maps.Clone(r.Body)
	if reference == "" {
		if err := CheckReference(r.Reference); err != nil {
			return "", nil, errors.New("ExternalReference " + err.Error())
		}
		reference = r.Reference
		name, _ := referenceName(r.Body) // set if its value is null
		fields[cmp.Or(name, externalReference)] = reference
	}
	if body, err = clients.EncodeJSON(fields); err != nil {
		return "", nil, errors.New("the body cannot be written as JSON")
	}
	return reference, body, nil
}

// record is an entry of a list, and the answer to a create. The vendor's pages
// call the id of a contact ContactGuid.
type record struct {
	GUID              clients.Text `json:"Guid"`
	ContactGUID       clients.Text `json:"ContactGuid"`
	TimeStamp         clients.Text `json:"TimeStamp"`
	ExternalReference *string      `json:"ExternalReference"`
	DeletedAt         *string      `json:"DeletedAt"`
}

func (r record) id(kind recordKind) string {
	if kind.guid == contacts.guid && r.ContactGUID != "" {
		return r.ContactGUID.String()
	}
	return r.GUID.String()
}

// readCreated reads the answer to a create.
func readCreated(a *clients.Answer) (Created, error) {
	var created record
	if err := clients.DecodeObject(a, &created); err != nil {
		return Created{}, err
	}
	return Created{
		GUID:      cmp.Or(created.GUID, created.ContactGUID).String(),
		TimeStamp: created.TimeStamp.String(),
	}, nil
}
