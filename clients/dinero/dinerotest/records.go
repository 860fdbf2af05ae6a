package dinerotest

import (
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

// records is one kind of them.
type records struct {
	path string
	of   func(*organization) *[]*Record
	// guid is the name of the id in a list.
	guid string
	// needs are the fields without which a body is refused.
	needs []string
	// since is how changesSince is written.
	since []string
}

var (
	contactRecords = records{
		path:  "contacts",
		guid:  "ContactGuid",
		needs: []string{"Name"},
		of:    func(o *organization) *[]*Record { return &o.contacts },
		since: []string{time.RFC3339},
	}
	invoiceRecords = records{
		path:  "invoices",
		guid:  "Guid",
		needs: []string{"ProductLines"},
		of:    func(o *organization) *[]*Record { return &o.invoices },
		since: []string{"2006-01-02T15:04:05"},
	}
)

func (s *Sandbox) create(r records) operation {
	return func(c *sandbox.Call, o *organization) sandbox.Answer {
		body, ok := readBody(c)
		if !ok {
			return failure(http.StatusBadRequest, "42", "The body is not JSON")
		}
		for _, name := range r.needs {
			if field(body, name) == nil {
				return failure(http.StatusBadRequest, "42", name+" is missing")
			}
		}
		reference, isText := field(body, "ExternalReference").(string)
		if field(body, "ExternalReference") != nil &&
			(!isText || utf8.RuneCountInString(reference) > 128) {
			return failure(http.StatusBadRequest, "42", "ExternalReference is wrong")
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

// touch gives a record a new version and puts it to the end of the list, which
// is ordered by the last change.
func (s *Sandbox) touch(o *organization, r records, record *Record) {
	s.next++
	record.TimeStamp = fmt.Sprintf("%016X", s.next)
	record.UpdatedAt = s.opts.Now()
	list := r.of(o)
	*list = slices.DeleteFunc(*list, func(other *Record) bool { return other == record })
	*list = append(*list, record)
}

// list is one page. Nothing but the vendor's parameters is allowed.
func (s *Sandbox) list(r records) operation {
	return func(c *sandbox.Call, o *organization) sandbox.Answer {
		q := c.Query
		for name := range q {
			if !slices.Contains(
				[]string{"fields", "changesSince", "deletedOnly", "page", "pageSize"},
				name,
			) {
				return failure(http.StatusBadRequest, "42", name+" is no parameter")
			}
		}
		since, ok := readSince(q, r.since)
		page, pageErr := strconv.Atoi(orDefault(q.Get("page"), "0"))
		size, sizeErr := strconv.Atoi(orDefault(q.Get("pageSize"), "100"))
		if !ok || pageErr != nil || sizeErr != nil || page < 0 || size < 1 {
			return failure(http.StatusBadRequest, "42", "a parameter is wrong")
		}
		size = min(size, s.opts.MaxPageSize)
		fields := strings.Split(orDefault(q.Get("fields"), r.guid), ",")
		var all []map[string]any
		for _, record := range *r.of(o) {
			switch {
			case record.hidden > 0:
				record.hidden--
				continue
			case record.UpdatedAt.Before(since),
				c.Params["version"] == "v1" && (record.DeletedAt != nil) != (q.Get("deletedOnly") == "true"):
				continue
			}
			entry, unknown := record.entry(r, fields)
			if unknown != "" {
				return failure(http.StatusBadRequest, "42", unknown+" is no field")
			}
			all = append(all, entry)
		}
		total := len(all)
		from, to := min(page*size, total), min((page+1)*size, total)
		return sandbox.JSON(http.StatusOK, map[string]any{
			"Collection": append([]map[string]any{}, all[from:to]...),
			"Pagination": map[string]int{
				"MaxPageSizeAllowed":  s.opts.MaxPageSize,
				"PageSize":            size,
				"Result":              total,
				"ResultWithoutFilter": len(*r.of(o)),
				"Page":                page,
			},
		})
	}
}

func (record *Record) entry(
	r records,
	fields []string,
) (entry map[string]any, unknown string) {
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

// one reads, changes or deletes a record.
func (s *Sandbox) one(r records) operation {
	return func(c *sandbox.Call, o *organization) sandbox.Answer {
		record := find(o, r, c.Params["guid"])
		if record == nil {
			return failure(http.StatusNotFound, "40", "No such record")
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
				return failure(http.StatusBadRequest, "42", "The body is not JSON")
			}
			if stale(r, record, body) {
				return failure(
					http.StatusBadRequest,
					"58",
					"The Timestamp is not the current one",
				)
			}
			record.Body = body
			s.touch(o, r, record)
			c.Effect(record.GUID)
			return sandbox.JSON(
				http.StatusOK,
				map[string]string{"TimeStamp": record.TimeStamp},
			)
		case http.MethodDelete:
			s.touch(o, r, record)
			record.DeletedAt = new(s.opts.Now())
			c.Effect(record.GUID)
			return sandbox.Answer{Status: http.StatusOK}
		}
		return sandbox.Answer{Status: http.StatusMethodNotAllowed}
	}
}

// book gives a draft its number.
func (s *Sandbox) book(c *sandbox.Call, o *organization) sandbox.Answer {
	record := find(o, invoiceRecords, c.Params["guid"])
	body, ok := readBody(c)
	switch {
	case record == nil:
		return failure(http.StatusNotFound, "40", "No such record")
	case !ok:
		return failure(http.StatusBadRequest, "42", "The body is not JSON")
	case stale(invoiceRecords, record, body):
		return failure(
			http.StatusBadRequest,
			"58",
			"The Timestamp is not the current one",
		)
	}
	record.Number = 1 + slices.MaxFunc(
		o.invoices,
		func(a, b *Record) int { return a.Number - b.Number },
	).Number
	s.touch(o, invoiceRecords, record)
	c.Effect(record.GUID)
	return sandbox.JSON(
		http.StatusOK,
		map[string]any{
			"Guid":      record.GUID,
			"Number":    record.Number,
			"TimeStamp": record.TimeStamp,
		},
	)
}

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
	var body map[string]any
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "application/json" ||
		json.Unmarshal(c.Body, &body) != nil ||
		body == nil {
		return nil, false
	}
	return body, true
}

// field reads a member in any case of letters, as the vendor does.
func field(body map[string]any, name string) any {
	for key, value := range body {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

func readSince(q url.Values, layouts []string) (time.Time, bool) {
	raw := q.Get("changesSince")
	if raw == "" {
		return time.Time{}, true
	}
	for _, layout := range layouts {
		if at, err := time.Parse(layout, raw); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
