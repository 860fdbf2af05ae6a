package dinero_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
)

// cannedPages is a vendor with one body for each page of a list, and the last for all
// others.
type cannedPages struct {
	bodies []string
	served map[int]string
}

// RoundTrip implements http.RoundTripper.
func (p *cannedPages) RoundTrip(req *http.Request) (*http.Response, error) {
	body := `{"Guid":"g"}` // one record
	if number, err := strconv.Atoi(req.URL.Query().Get("page")); err == nil {
		body = p.bodies[min(number, len(p.bodies)-1)]
		p.served[number] = body
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{},
		Body:       io.NopCloser(strings.NewReader(body)),
	}, nil
}

// pageRead is what a page says, read without the client's own code.
type pageRead struct {
	Collection []struct {
		GUID              string `json:"Guid"`
		DeletedAt         *json.RawMessage
		ExternalReference any
	}
	Pagination struct{ Result float64 }
}

// FuzzLookup looks an invoice up in any list, from any place. It is found only if a page
// has its reference. It is not there, so that it is created once more, only if every
// page could be read, together they have as many records as they say, and none has the
// reference.
func FuzzLookup(f *testing.F) {
	page := func(entries string, result int) string {
		return `{"Collection":[` + entries + `],"Pagination":{"PageSize":1,"Result":` + strconv.Itoa(result) + `}}`
	}
	const ours, other = `{"Guid":"g1","ExternalReference":"ref"}`, `{"Guid":"g2","ExternalReference":null}`
	const place = `{"since":"2026-01-01T00:00:00","page":1,"count":1,"print":"x"}`
	for _, pages := range [][2]string{
		{page(other, 2), page(ours, 2)},
		{page(other, 2), page("", 2)},
		{page(other, 1), page("", 1)},
		{page(`{"Guid":"g1","ExternalReference":"ref","DeletedAt":"2026-01-01T00:00:00"}`, 1), page("", 1)},
		{page(`{"guid":"g1","externalReference":"REF"}`, 0), "null"},
		{page(`{"ExternalReference":"ref"}`, 1), "<html>"},
		{`{"Collection":[]}`, ""},
		{`{"Pagination":{"Result":-1},"Collection":null}`, ""},
	} {
		f.Add(pages[0], pages[1], "")
		f.Add(pages[0], pages[1], place)
	}
	f.Fuzz(func(t *testing.T, first, second, kept string) {
		list := &cannedPages{bodies: []string{first, second, page("", 0)}, served: map[int]string{}}
		fx := &fixture{source: &source{}, breaker: &clientstest.Gate{}}
		fx.connectThrough(t, "https://dinero.example/", clients.NewCaller(dinero.Vendor, clients.Timeouts{}, list, nil))
		ctx, attempt := clients.WithAttempt(t.Context(), nil)
		attempt.SetPlace(kept)
		made, found, err := fx.client.ReconcileInvoice(ctx, org, "ref")
		if found != (made.GUID != "") || err != nil && found {
			t.Fatalf("found %v: %+v, %v", found, made, err)
		}
		if place := attempt.Place(); place != "" && place != kept && (err == nil || !json.Valid([]byte(place))) {
			t.Errorf("the place %q is kept beside %v", place, err)
		}
		if err != nil {
			if _, ok := clients.AsError(err); !ok {
				t.Errorf("%#v", err)
			}
			return
		}
		ids := map[string]bool{}
		named, total := map[string]bool{}, 0.0
		for number, body := range list.served {
			var p pageRead
			if err := json.Unmarshal(clients.TrimBOM([]byte(body)), &p); err != nil {
				t.Fatalf("page %d was taken: %q, %v", number, body, err)
			}
			for _, r := range p.Collection {
				ids[r.GUID] = true
				if r.DeletedAt == nil && r.ExternalReference == "ref" {
					named[r.GUID] = true
				}
			}
			total = max(total, p.Pagination.Result)
		}
		switch {
		case found && !named[made.GUID]:
			t.Errorf("%+v is found in %v", made, list.served)
		case !found && len(named) > 0:
			t.Errorf("not found in %v", list.served)
		case !found && kept == "" && float64(len(ids)) < total:
			t.Errorf("%v are the whole list", list.served)
		}
	})
}
