package dinero

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"errand.internal/clients"
)

// CreateRequest is a record to be made.
type CreateRequest struct {
	Organization string
	// Body is the vendor's own, of POST contacts or POST invoices.
	Body map[string]any
	// Reference is what ExternalReference becomes where the body has none. It
	// names the record for ever, so that it can be found again.
	Reference string
}

// Created names a record.
type Created struct {
	// GUID is the vendor's id. It is empty if the vendor said that it made the
	// record, did not name it, and does not list it yet.
	GUID string
	// TimeStamp is its version, which the next change must name; the vendor gives
	// none for a contact.
	TimeStamp string
}

// MaxReferenceLength is the most characters of an ExternalReference.
const MaxReferenceLength = 128

// ReferenceOf returns the ExternalReference of a body, "" if it has none. Names
// count in any case of letters, as the vendor reads them. The error says what
// is wrong with it.
func ReferenceOf(body map[string]any) (string, error) {
	name, err := referenceName(body)
	if err != nil || name == "" || body[name] == nil {
		return "", err
	}
	reference, isText := body[name].(string)
	if !isText {
		return "", errors.New("must be text")
	}
	return reference, CheckReference(reference)
}

// CheckReference tells what is wrong with an ExternalReference. One that the
// vendor might change on the way would not be found again.
func CheckReference(reference string) error {
	switch {
	case reference == "":
		return errors.New("must not be empty")
	case !utf8.ValidString(reference) || utf8.RuneCountInString(reference) > MaxReferenceLength:
		return errors.New("must have at most 128 characters")
	case strings.TrimSpace(reference) != reference:
		return errors.New("must not begin or end with a space")
	case strings.ContainsFunc(reference, unicode.IsControl):
		return errors.New("must not contain control characters")
	}
	return nil
}

// referenceName is how the body spells the name.
func referenceName(body map[string]any) (string, error) {
	found := ""
	for name := range body {
		if strings.EqualFold(name, "ExternalReference") {
			if found != "" {
				return "", errors.New("is given twice")
			}
			found = name
		}
	}
	return found, nil
}

// kind is one kind of record that can be made and found again.
type kind struct {
	create, find string // operations
	path         string
	// guid is the name of the id in a list.
	guid string
	// since is the form of changesSince.
	since string
}

var (
	contacts = kind{
		create: OpContactCreate,
		find:   OpContactFind,
		path:   "contacts",
		guid:   "ContactGuid",
		since:  "2006-01-02T15:04:05Z",
	}
	invoices = kind{
		create: OpInvoiceCreate,
		find:   OpInvoiceFind,
		path:   "invoices",
		guid:   "Guid",
		since:  "2006-01-02T15:04:05",
	}
)

// CreateContact makes a contact, once. Unknown means that it may be there:
// ReconcileContact tells. A second call makes a second contact.
//
// https://api.dinero.dk/v1/docs
func (c *Client) CreateContact(ctx context.Context, r CreateRequest) (Created, error) {
	return c.create(ctx, contacts, r)
}

// CreateInvoice makes a draft of an invoice, once. Unknown means that it may be
// there: ReconcileInvoice tells. A second call makes a second draft.
//
// https://api.dinero.dk/v1/docs/api/POST-v1-organizationId-invoices
func (c *Client) CreateInvoice(ctx context.Context, r CreateRequest) (Created, error) {
	return c.create(ctx, invoices, r)
}

func (c *Client) create(ctx context.Context, k kind, r CreateRequest) (Created, error) {
	reference, body, err := r.body()
	if err != nil {
		return Created{}, unsendable(k.create, err.Error())
	}
	target, err := c.below("v1", r.Organization, k.path)
	if err != nil {
		return Created{}, unsendable(k.create, err.Error())
	}
	answer, err := c.exchange(ctx, outgoing{
		op:           k.create,
		organization: r.Organization,
		method:       http.MethodPost,
		url:          target,
		body:         body,
	})
	if err != nil {
		return Created{}, err
	}
	made, undecoded := readCreated(answer)
	switch {
	case made.GUID != "":
		return made, nil
	case answer.Status == http.StatusCreated && !answer.Incomplete && len(bytes.TrimSpace(answer.Body)) == 0:
		// The status page says that a 201 has no body: it is made, and only its id is
		// open. That stays so if it cannot be found.
		found, _, _ := c.find(ctx, k, r.Organization, reference)
		return found, nil
	case undecoded != nil:
		return Created{}, clients.UnreadableError(
			Vendor,
			k.create,
			answer,
			undecoded.Error(),
		)
	}
	return Created{}, clients.UnreadableError(
		Vendor,
		k.create,
		answer,
		"it names no Guid",
	)
}

// body is what goes out, and the reference in it.
func (r CreateRequest) body() (reference string, body []byte, err error) {
	if len(r.Body) == 0 {
		return "", nil, errors.New("there is no body")
	}
	if reference, err = ReferenceOf(r.Body); err != nil {
		return "", nil, errors.New("ExternalReference " + err.Error())
	}
	sent := make(map[string]any, len(r.Body)+1)
	for name, value := range r.Body {
		sent[name] = value
	}
	if reference == "" {
		if err := CheckReference(r.Reference); err != nil {
			return "", nil, errors.New("ExternalReference " + err.Error())
		}
		name, _ := referenceName(r.Body)
		reference = r.Reference
		sent[orDefault(name, "ExternalReference")] = reference
	}
	var encoded bytes.Buffer
	enc := json.NewEncoder(&encoded)
	enc.SetEscapeHTML(false) // "Tom & Co" as it is
	if err := enc.Encode(sent); err != nil {
		return "", nil, errors.New("the body cannot be written as JSON")
	}
	return reference, bytes.TrimSpace(encoded.Bytes()), nil
}

// record is one entry of a list, and the answer to a create. The pages call the
// id of a contact ContactGuid.
type record struct {
	GUID              clients.Text `json:"Guid"`
	ContactGUID       clients.Text `json:"ContactGuid"`
	TimeStamp         clients.Text `json:"TimeStamp"`
	ExternalReference *string      `json:"ExternalReference"`
	DeletedAt         *string      `json:"DeletedAt"`
}

func (r record) id(k kind) string {
	if k.guid == contacts.guid && r.ContactGUID != "" {
		return r.ContactGUID.String()
	}
	return r.GUID.String()
}

// readCreated reads the answer to a create.
func readCreated(a *clients.Answer) (Created, error) {
	var made record
	if err := clients.DecodeObject(a, &made); err != nil {
		return Created{}, err
	}
	id := made.GUID
	if id == "" {
		id = made.ContactGUID
	}
	return Created{GUID: id.String(), TimeStamp: made.TimeStamp.String()}, nil
}
