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
	// lookback is the age of the oldest change that a reconciliation lists if nobody
	// knows when the task was first attempted. It exceeds the time that a create waits
	// for its turn by far.
	lookback = 30 * 24 * time.Hour
	// margin is how much older than the first attempt the oldest change is that a
	// reconciliation lists. It exceeds what two clocks differ by, and the two hours of
	// Danish summer time: the vendor's times name no zone.
	margin = 3 * time.Hour
	// pageSize is the vendor's own default.
	pageSize = 100
	maxPages = 500
	// maxListings is how many times a list is read if it changes meanwhile.
	maxListings = 3
)

// ReconcileContact finds the contact with an ExternalReference, so that a create
// in doubt is repeated only if it did not happen. Deleted contacts do not count.
func (c *Client) ReconcileContact(ctx context.Context, organization, reference string) (Created, bool, error) {
	return c.reconcile(ctx, contacts, organization, reference)
}

// ReconcileInvoice finds the invoice with an ExternalReference, so that a create in
// doubt is repeated only if it did not happen. Deleted invoices do not count.
func (c *Client) ReconcileInvoice(ctx context.Context, organization, reference string) (Created, bool, error) {
	return c.reconcile(ctx, invoices, organization, reference)
}

// reconcile lists the recent changes and compares their references, because the
// vendor cannot filter invoices by reference. False beside a nil error means that
// the whole list was read and the record is not in it.
func (c *Client) reconcile(
	ctx context.Context,
	kind recordKind,
	organization, reference string,
) (Created, bool, error) {
	if err := CheckReference(reference); err != nil {
		return Created{}, false, clients.InvalidRequest(Vendor, kind.findOp, "ExternalReference "+err.Error())
	}
	base, err := c.resolve("v1", organization, kind.path)
	if err != nil {
		return Created{}, false, clients.InvalidRequest(Vendor, kind.findOp, err.Error())
	}
	l := listing{
		client:       c,
		kind:         kind,
		organization: organization,
		url:          base,
	}
	at := parsePlace(clients.Place(ctx))
	for range maxListings {
		if at.Since == "" {
			at.Since = c.oldest(ctx).Format(kind.since)
		}
		l.since = at.Since
		found, complete, err := l.find(ctx, reference, at)
		if err != nil {
			return Created{}, false, err
		}
		at = place{Since: at.Since}
		at.keep(ctx)
		if found.GUID != "" {
			return l.withTimeStamp(ctx, found), true, nil
		}
		if complete {
			return Created{}, false, nil
		}
	}
	return Created{}, false, l.temporary("the list changed each time while it was read")
}

// oldest returns the time of the oldest change that a reconciliation lists.
func (c *Client) oldest(ctx context.Context) time.Time {
	if first := clients.FirstAttempt(ctx); !first.IsZero() {
		return first.UTC().Add(-margin)
	}
	return c.now().UTC().Add(-lookback)
}

// listing is the list of an organization's records of one kind that changed
// lately.
type listing struct {
	client       *Client
	kind         recordKind
	organization string
	url          string
	since        string
}

// find reads the pages, from a place on, up to the one that contains the reference. It
// keeps its place after each page, so that a lookup that runs out of time, or of the
// organization's quota, goes on there. complete is false if records moved between the
// pages meanwhile, so that one may have been missed: the vendor orders the list by the
// last change.
func (l listing) find(ctx context.Context, reference string, at place) (found Created, complete bool, err error) {
	start := at
	if found, moved, err := l.recheck(ctx, reference, start); err != nil || moved || found.GUID != "" {
		return found, false, err
	}
	seen := map[string]bool{}
	total := 0
	for at.Page < maxPages {
		page, err := l.page(ctx, at.Page)
		if e, ok := clients.AsError(err); ok && at.Page > start.Page {
			e.NotSent = false // the requests for other pages reached the vendor
		}
		if err != nil {
			return Created{}, false, err
		}
		if found, err := l.read(page, reference, seen); err != nil || found.GUID != "" {
			return found, false, err
		}
		total = max(total, page.Result)
		size := pageSize
		if page.PageSize > 0 {
			size = min(size, page.PageSize)
		}
		if len(page.records) < size {
			_, moved, err := l.recheck(ctx, reference, start)
			return Created{}, start.Count+len(seen) >= total && !moved, err
		}
		at = place{
			Since: l.since,
			Page:  at.Page + 1,
			Count: start.Count + len(seen),
			Print: page.print(l.kind),
		}
		at.keep(ctx)
	}
	return Created{}, false, l.temporary("the list has too many pages")
}

// read looks for the reference on a page, and adds the page's ids to seen.
func (l listing) read(page listPage, reference string, seen map[string]bool) (Created, error) {
	for _, r := range page.records {
		id := r.id(l.kind)
		if id == "" {
			return Created{}, l.unreadable(page.answer, "an entry names no "+l.kind.guid)
		}
		seen[id] = true
		if r.DeletedAt == nil && r.ExternalReference != nil && *r.ExternalReference == reference {
			return Created{GUID: id, TimeStamp: r.TimeStamp.String()}, nil
		}
	}
	return Created{}, nil
}

// recheck reads the last page before a place once more. It has moved if a record on it
// or before it was changed: then a record may have come to a page that was read.
func (l listing) recheck(ctx context.Context, reference string, at place) (found Created, moved bool, err error) {
	if at.Page == 0 {
		return Created{}, false, nil
	}
	page, err := l.page(ctx, at.Page-1)
	if err != nil {
		return Created{}, false, err
	}
	found, err = l.read(page, reference, map[string]bool{})
	return found, page.print(l.kind) != at.Print, err
}

// listPage is one page of a list.
type listPage struct {
	pagination
	records []record
	answer  *clients.Answer
}

func (l listing) page(ctx context.Context, number int) (listPage, error) {
	query := url.Values{
		"fields":       {l.kind.guid + "," + externalReference},
		"changesSince": {l.since},
		"deletedOnly":  {"false"},
		"page":         {strconv.Itoa(number)},
		"pageSize":     {strconv.Itoa(pageSize)},
	}
	answer, err := l.get(ctx, l.url+"?"+query.Encode())
	if err != nil {
		return listPage{}, err
	}
	records, p, err := readPage(answer)
	if err != nil {
		return listPage{}, l.unreadable(answer, err.Error())
	}
	return listPage{pagination: p, records: records, answer: answer}, nil
}

// withTimeStamp adds the TimeStamp of an invoice, which a list does not contain. A
// failure is no error: the record is found with or without it.
func (l listing) withTimeStamp(ctx context.Context, found Created) Created {
	if l.kind.path != invoices.path || found.TimeStamp != "" || clients.CheckPath(found.GUID) != nil {
		return found
	}
	answer, err := l.get(ctx, l.url+"/"+found.GUID)
	if err != nil {
		return found
	}
	if full, err := readCreated(answer); err == nil && full.GUID == found.GUID {
		found.TimeStamp = full.TimeStamp
	}
	return found
}

func (l listing) get(ctx context.Context, target string) (*clients.Answer, error) {
	return l.client.do(ctx, apiRequest{
		op:           l.kind.findOp,
		organization: l.organization,
		method:       http.MethodGet,
		url:          target,
	})
}

func (l listing) unreadable(a *clients.Answer, why string) *clients.Error {
	return clients.UnreadableError(Vendor, l.kind.findOp, a, why)
}

func (l listing) temporary(message string) *clients.Error {
	return &clients.Error{
		Vendor:  Vendor,
		Op:      l.kind.findOp,
		Kind:    clients.Temporary,
		Message: message,
	}
}

// pagination is the vendor's. Result is the number of entries on all pages.
type pagination struct {
	PageSize int
	Result   int
}

// readPage reads one page of a list.
func readPage(a *clients.Answer) ([]record, pagination, error) {
	var page struct {
		Collection *[]record       `json:"Collection"`
		Pagination json.RawMessage `json:"Pagination"`
	}
	if err := clients.DecodeObject(a, &page); err != nil {
		return nil, pagination{}, err
	}
	if page.Collection == nil {
		return nil, pagination{}, errors.New("it has no Collection")
	}
	var p pagination
	if !clients.IsSet(page.Pagination) || clients.DecodeMembers(page.Pagination, &p) != nil ||
		p.PageSize < 0 || p.Result < 0 {
		return nil, pagination{}, errors.New("its Pagination is missing or cannot be read")
	}
	return *page.Collection, p, nil
}
