package dinero

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"errand.internal/clients"
)

const (
	// lookBack is how far back a record is looked for. It is longer than a create
	// waits for its turn, and as the vendor's times name no zone, the hours of an
	// offset do not matter.
	lookBack = 30 * 24 * time.Hour
	// pageSize is the vendor's own default.
	pageSize = 100
	maxPages = 500
	// listings is how often a list that changes while it is read is read anew.
	listings = 3
)

// FindContact looks for the contact with an ExternalReference, deleted ones left
// out.
func (c *Client) FindContact(
	ctx context.Context,
	organization, reference string,
) (Created, bool, error) {
	return c.find(ctx, contacts, organization, reference)
}

// FindInvoice looks for the invoice with an ExternalReference, deleted ones left
// out.
func (c *Client) FindInvoice(
	ctx context.Context,
	organization, reference string,
) (Created, bool, error) {
	return c.find(ctx, invoices, organization, reference)
}

// find lists what changed lately and matches here: the vendor's filters do not
// know the field for invoices. A false with a nil error means that the whole
// list was read and it is not there.
func (c *Client) find(
	ctx context.Context,
	k kind,
	organization, reference string,
) (Created, bool, error) {
	if err := CheckReference(reference); err != nil {
		return Created{}, false, unsendable(k.find, "ExternalReference "+err.Error())
	}
	base, err := c.below("v1", organization, k.path)
	if err != nil {
		return Created{}, false, unsendable(k.find, err.Error())
	}
	since := c.now().UTC().Add(-lookBack).Format(k.since)
	for range listings {
		found, whole, err := c.list(ctx, k, organization, reference, base, since)
		if err != nil {
			return Created{}, false, err
		}
		if found.GUID != "" {
			return c.stamped(ctx, k, base, organization, found), true, nil
		}
		if whole {
			return Created{}, false, nil
		}
	}
	return Created{}, false, &clients.Error{
		Vendor:  Vendor,
		Op:      k.find,
		Kind:    clients.Temporary,
		Message: "the list changed each time while it was read",
	}
}

// stamped adds the TimeStamp, which a list does not have, as far as it can be
// had: the record is found with or without it.
func (c *Client) stamped(
	ctx context.Context,
	k kind,
	base, organization string,
	found Created,
) Created {
	if k.find != OpInvoiceFind || found.TimeStamp != "" || CheckPath(found.GUID) != nil {
		return found
	}
	answer, err := c.exchange(ctx, outgoing{
		op:           k.find,
		organization: organization,
		method:       http.MethodGet,
		url:          base + "/" + found.GUID,
	})
	if err != nil {
		return found
	}
	if whole, err := readCreated(answer); err == nil && whole.GUID == found.GUID {
		found.TimeStamp = whole.TimeStamp
	}
	return found
}

// list reads all pages. whole is false if records moved between the pages
// meanwhile, so that one may have been missed: the list is ordered by the last
// change.
func (c *Client) list(
	ctx context.Context,
	k kind,
	organization, reference, base, since string,
) (found Created, whole bool, err error) {
	seen := map[string]bool{}
	total := 0
	for page := range maxPages {
		query := url.Values{
			"fields":       {k.guid + ",ExternalReference"},
			"changesSince": {since},
			"deletedOnly":  {"false"},
			"page":         {strconv.Itoa(page)},
			"pageSize":     {strconv.Itoa(pageSize)},
		}
		answer, err := c.exchange(ctx, outgoing{
			op:           k.find,
			organization: organization,
			method:       http.MethodGet,
			url:          base + "?" + query.Encode(),
		})
		if err != nil {
			return Created{}, false, err
		}
		records, p, err := readList(answer)
		if err != nil {
			return Created{}, false, clients.UnreadableError(
				Vendor,
				k.find,
				answer,
				err.Error(),
			)
		}
		for _, r := range records {
			id := r.id(k)
			if id == "" {
				return Created{}, false, clients.UnreadableError(
					Vendor,
					k.find,
					answer,
					"an entry names no "+k.guid,
				)
			}
			seen[id] = true
			if r.DeletedAt == nil && r.ExternalReference != nil &&
				*r.ExternalReference == reference {
				return Created{GUID: id, TimeStamp: r.TimeStamp.String()}, false, nil
			}
		}
		total = max(total, p.Result)
		size := pageSize
		if p.PageSize > 0 {
			size = min(size, p.PageSize)
		}
		if len(records) < size {
			return Created{}, len(seen) >= total, nil
		}
	}
	return Created{}, false, &clients.Error{
		Vendor:  Vendor,
		Op:      k.find,
		Kind:    clients.Temporary,
		Message: "the list has too many pages",
	}
}

// pagination is the vendor's. Result is the number of entries of all pages.
type pagination struct{ PageSize, Result int }

// readList reads one page.
func readList(a *clients.Answer) ([]record, pagination, error) {
	var reply struct {
		Collection *[]record       `json:"Collection"`
		Pagination json.RawMessage `json:"Pagination"`
	}
	if err := clients.DecodeObject(a, &reply); err != nil {
		return nil, pagination{}, err
	}
	if reply.Collection == nil {
		return nil, pagination{}, errors.New("it has no Collection")
	}
	var p pagination
	if !clients.IsSet(reply.Pagination) || json.Unmarshal(reply.Pagination, &p) != nil ||
		p.PageSize < 0 ||
		p.Result < 0 {
		return nil, pagination{}, errors.New("it has no Pagination that can be read")
	}
	return *reply.Collection, p, nil
}
