package dinerotest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"errand.internal/clients/sandbox"
)

// records describes one kind of record.
type records struct {
	path string
	of   func(*organization) *[]*Record
	// guid is the name of the id in a list.
	guid string
	// required are the fields that a body must have.
	required []string
	// since is the time layout of changesSince.
	since string
}

var (
	contactRecords = records{
		path:     "contacts",
		guid:     "ContactGuid",
		required: []string{"Name"},
		of:       func(o *organization) *[]*Record { return &o.contacts },
		since:    time.RFC3339,
	}
	invoiceRecords = records{
		path:     "invoices",
		guid:     "Guid",
		required: []string{"ProductLines"},
		of:       func(o *organization) *[]*Record { return &o.invoices },
		since:    "2006-01-02T15:04:05",
	}
)

// badRequest is the vendor's answer to invalid content.
func badRequest(message string) sandbox.Answer {
	return failure(http.StatusBadRequest, "42", message)
}

func notJSON() sandbox.Answer {
	return badRequest("The body is not JSON")
}

func notFound() sandbox.Answer {
	return failure(http.StatusNotFound, "40", "No such record")
}

func outdated() sandbox.Answer {
	return failure(http.StatusBadRequest, "58", "The Timestamp is not the current one")
}

func (s *Sandbox) create(r records) operation {
	return func(c *sandbox.Call, o *organization) sandbox.Answer {
		body, ok := readBody(c)
		if !ok {
			return notJSON()
		}
		for _, name := range r.required {
			if field(body, name) == nil {
				return badRequest(name + " is missing")
			}
		}
		reference, isText := field(body, "ExternalReference").(string)
		if field(body, "ExternalReference") != nil &&
			(!isText || utf8.RuneCountInString(reference) > 128) {
			return badRequest("ExternalReference is wrong")
		}
		s.next++
		record := &Record{
			GUID:              fmt.Sprintf("00000000-0000-4000-8000-%012d", s.next),
			ExternalReference: reference,
			Body:              body,
			hidden:            s.opts.ListLag,
		}
		s.touch(o, r, record)
		c.Effect(reference)
		if s.opts.EmptyCreated {
			return sandbox.Answer{Status: http.StatusCreated}
		}
		answer := map[string]string{r.guid: record.GUID}
		if r.path == invoiceRecords.path {
			answer["TimeStamp"] = record.TimeStamp
		}
		return sandbox.JSON(http.StatusCreated, answer)
	}
}

// touch gives a record a new version and moves it to the end of the list, which is
// ordered by the last change.
func (s *Sandbox) touch(o *organization, r records, record *Record) {
	s.next++
	record.TimeStamp = fmt.Sprintf("%016X", s.next)
	record.UpdatedAt = s.opts.Now()
	list := r.of(o)
	*list = slices.DeleteFunc(*list, func(other *Record) bool { return other == record })
	*list = append(*list, record)
}

// listQuery holds the parameters of a list.
type listQuery struct {
	fields      []string
	since       time.Time
	deletedOnly bool
	page        int
	size        int
}

// parseList parses the parameters of a list. problem is "" if they are valid: the
// vendor's parameters and no other.
func (r records) parseList(q url.Values) (list listQuery, problem string) {
	for name := range q {
		switch name {
		case "fields", "changesSince", "deletedOnly", "page", "pageSize":
		default:
			return listQuery{}, name + " is no parameter"
		}
	}
	if raw := q.Get("changesSince"); raw != "" {
		var err error
		if list.since, err = time.Parse(r.since, raw); err != nil {
			return listQuery{}, "changesSince is wrong"
		}
	}
	page, pageErr := strconv.Atoi(cmp.Or(q.Get("page"), "0"))
	size, sizeErr := strconv.Atoi(cmp.Or(q.Get("pageSize"), "100"))
	if pageErr != nil || sizeErr != nil || page < 0 || size < 1 {
		return listQuery{}, "page or pageSize is wrong"
	}
	list.page = page
	list.size = size
	list.deletedOnly = q.Get("deletedOnly") == "true"
	list.fields = strings.Split(cmp.Or(q.Get("fields"), r.guid), ",")
	return list, ""
}

// list returns one page.
func (s *Sandbox) list(r records) operation {
	return func(c *sandbox.Call, o *organization) sandbox.Answer {
		list, problem := r.parseList(c.Query)
		if problem != "" {
			return badRequest(problem)
		}
		list.size = min(list.size, s.opts.MaxPageSize)
		entries := []map[string]any{}
		for _, record := range *r.of(o) {
			if record.hidden > 0 {
				record.hidden--
				continue
			}
			if record.UpdatedAt.Before(list.since) ||
				c.Params["version"] == "v1" && (record.DeletedAt != nil) != list.deletedOnly {
				continue
			}
			entry, unknown := record.entry(r, list.fields)
			if unknown != "" {
				return badRequest(unknown + " is no field")
			}
			entries = append(entries, entry)
		}
		total := len(entries)
		from, to := min(list.page*list.size, total), min((list.page+1)*list.size, total)
		return sandbox.JSON(http.StatusOK, map[string]any{
			"Collection": entries[from:to],
			"Pagination": map[string]int{
				"MaxPageSizeAllowed":  s.opts.MaxPageSize,
				"PageSize":            list.size,
				"Result":              total,
				"ResultWithoutFilter": len(*r.of(o)),
				"Page":                list.page,
			},
		})
	}
}

// entry returns the fields of a record in a list, or the name of a field that the
// vendor does not have.
func (record *Record) entry(r records, fields []string) (entry map[string]any, unknown string) {
	entry = map[string]any{}
	for _, name := range fields {
		switch name {
		case r.guid:
			entry[name] = record.GUID
		case "ExternalReference":
			entry[name] = record.ExternalReference
			if record.ExternalReference == "" {
				entry[name] = nil
			}
		case "DeletedAt":
			entry[name] = record.DeletedAt
		case "Name", "Number":
			entry[name] = field(record.Body, name)
		default:
			return nil, name
		}
	}
	return entry, ""
}

// one reads, changes or deletes one record.
func (s *Sandbox) one(r records) operation {
	return func(c *sandbox.Call, o *organization) sandbox.Answer {
		record := find(o, r, c.Params["guid"])
		if record == nil {
			return notFound()
		}
		switch c.Method {
		case http.MethodGet, http.MethodHead:
			answer := map[string]any{
				r.guid:              record.GUID,
				"ExternalReference": record.ExternalReference,
			}
			if r.path == invoiceRecords.path {
				answer["TimeStamp"] = record.TimeStamp
			}
			return sandbox.JSON(http.StatusOK, answer)
		case http.MethodPut:
			body, ok := readBody(c)
			if !ok {
				return notJSON()
			}
			if stale(r, record, body) {
				return outdated()
			}
			record.Body = body
			s.touch(o, r, record)
			c.Effect(record.GUID)
			return sandbox.JSON(http.StatusOK, map[string]string{"TimeStamp": record.TimeStamp})
		case http.MethodDelete:
			s.touch(o, r, record)
			record.DeletedAt = new(s.opts.Now())
			c.Effect(record.GUID)
			return sandbox.Answer{Status: http.StatusOK}
		}
		return sandbox.Answer{Status: http.StatusMethodNotAllowed}
	}
}

// book turns a draft into a booked invoice with a number.
func (s *Sandbox) book(c *sandbox.Call, o *organization) sandbox.Answer {
	record := find(o, invoiceRecords, c.Params["guid"])
	body, ok := readBody(c)
	switch {
	case record == nil:
		return notFound()
	case !ok:
		return notJSON()
	case stale(invoiceRecords, record, body):
		return outdated()
	}
	last := slices.MaxFunc(o.invoices, func(a, b *Record) int { return a.Number - b.Number })
	record.Number = last.Number + 1
	s.touch(o, invoiceRecords, record)
	c.Effect(record.GUID)
	return sandbox.JSON(http.StatusOK, map[string]any{
		"Guid":      record.GUID,
		"Number":    record.Number,
		"TimeStamp": record.TimeStamp,
	})
}

// stale reports whether a change names an old version of an invoice.
func stale(r records, record *Record, body map[string]any) bool {
	return r.path == invoiceRecords.path && field(body, "Timestamp") != record.TimeStamp
}

func find(o *organization, r records, guid string) *Record {
	for _, record := range *r.of(o) {
		if record.GUID == guid && record.DeletedAt == nil {
			return record
		}
	}
	return nil
}

func readBody(c *sandbox.Call) (map[string]any, bool) {
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, false
	}
	var body map[string]any
	err = json.Unmarshal(c.Body, &body)
	return body, err == nil && body != nil
}

// field returns a field by its case-insensitive name, as the vendor reads it.
func field(body map[string]any, name string) any {
	for key, value := range body {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}
