package dinero_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/dinero"
)

// bigList is a vendor's list of invoices, ordered by their last change.
type bigList struct {
	references []string
	pages      []int    // read so far
	since      []string // asked for
	// before is called before a request is answered; an error loses the answer.
	before func(n int) error
}

// listSize is the size of a page of bigList.
const listSize = 7

func newBigList(records int) *bigList {
	l := &bigList{before: func(int) error { return nil }}
	for i := range records {
		l.references = append(l.references, fmt.Sprint("r", i))
	}
	return l
}

// touch changes a record, which then is the last of the list.
func (l *bigList) touch(reference string) {
	l.references = slices.DeleteFunc(l.references, func(r string) bool { return r == reference })
	l.references = append(l.references, reference)
}

// RoundTrip implements http.RoundTripper.
func (l *bigList) RoundTrip(req *http.Request) (*http.Response, error) {
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil || !query.Has("page") {
		return nil, fmt.Errorf("no page is asked for: %w", err)
	}
	number, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		return nil, err
	}
	if err := l.before(len(l.pages)); err != nil {
		return nil, err
	}
	l.pages = append(l.pages, number)
	l.since = append(l.since, query.Get("changesSince"))
	var entries []string
	total := len(l.references)
	for _, r := range l.references[min(number*listSize, total):min((number+1)*listSize, total)] {
		entries = append(entries, fmt.Sprintf(`{"Guid":"g-%s","ContactGuid":"g-%[1]s","ExternalReference":%[1]q}`, r))
	}
	body := fmt.Sprintf(
		`{"Collection":[%s],"Pagination":{"PageSize":%d,"Result":%d}}`,
		strings.Join(entries, ","), listSize, total,
	)
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{},
		Body:       io.NopCloser(strings.NewReader(body)),
	}, nil
}

// task is one task in doubt. Its tries share what the worker keeps of it.
type task struct {
	client *dinero.Client
	first  time.Time
	place  string
}

func newTask(t *testing.T, l *bigList) *task {
	t.Helper()
	f := &fixture{source: &source{}, breaker: &clientstest.Gate{}}
	f.connectThrough(t, "https://dinero.example/", clients.NewCaller(dinero.Vendor, clients.Timeouts{}, l, nil))
	return &task{client: f.client}
}

// look makes one try of a lookup, and keeps its place as the worker does.
func (k *task) look(t *testing.T, reference string) (found bool, err error) {
	t.Helper()
	ctx, attempt := clients.WithAttempt(t.Context(), nil)
	attempt.First = k.first
	attempt.SetPlace(k.place)
	_, found, err = k.client.ReconcileInvoice(ctx, org, reference)
	k.place = attempt.Place()
	return found, err
}

// The list begins shortly before the task's first attempt: the vendor's zone and the
// clocks may differ a little. Without that time it goes back 30 days.
func TestLookupBeginsAtTheFirstAttempt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for _, tt := range []struct {
		first time.Time
		want  string
	}{
		{now.Add(-10 * time.Minute), "2026-05-03T23:52:01"},
		{now.Add(-10 * time.Minute).In(time.FixedZone("CEST", 7200)), "2026-05-03T23:52:01"},
		{time.Time{}, "2026-04-04T03:02:01"},
	} {
		list := newBigList(1)
		k := newTask(t, list)
		k.first = tt.first
		k.client.SetNow(func() time.Time { return now })
		if found, err := k.look(t, "r0"); !found || err != nil {
			t.Fatalf("%v, %v", found, err)
		}
		if want := []string{tt.want}; !slices.Equal(list.since[:1], want) {
			t.Errorf("first attempt %v: changes since %v, want %v", tt.first, list.since, want)
		}
	}
}

// A lookup that did not come to its end goes on where it stopped, for the same changes.
func TestLookupKeepsItsPage(t *testing.T) {
	t.Parallel()
	list := newBigList(30)
	k := newTask(t, list)
	now := time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)
	k.client.SetNow(func() time.Time { now = now.Add(time.Hour); return now })
	fail := 3 // requests until the answer is lost
	list.before = func(n int) error {
		if n == fail {
			fail = -1
			return context.DeadlineExceeded
		}
		return nil
	}
	if found, err := k.look(t, "r30"); found || err == nil {
		t.Fatalf("%v, %v, want an error", found, err)
	} else if e, ok := clients.AsError(err); !ok || e.NotSent {
		t.Errorf("the pages that were read do not count: %+v", err)
	}
	if found, err := k.look(t, "r30"); found || err != nil {
		t.Fatalf("%v, %v, want not found", found, err)
	}
	// The page before is read once more at the beginning and at the end.
	if want := []int{0, 1, 2, 2, 3, 4, 2}; !slices.Equal(list.pages, want) {
		t.Errorf("pages %v were read, want %v", list.pages, want)
	}
	if first := list.since[0]; slices.ContainsFunc(list.since, func(s string) bool { return s != first }) {
		t.Errorf("changes since %v, want the same for each page", list.since)
	}
	if k.place != "" {
		t.Errorf("a list that was read is kept at %s", k.place)
	}
	// The next lookup begins anew: the record may have been listed meanwhile.
	list.touch("r30")
	if found, err := k.look(t, "r30"); !found || err != nil {
		t.Errorf("%v, %v, want found", found, err)
	}
}

// Records that move between the tries, or while the rest is read, never hide one: "not
// found" leads to a second create.
func TestLookupNoticesThatTheListMoved(t *testing.T) {
	t.Parallel()
	moveEight := func(l *bigList) { // so that r21 comes to a page that was read
		for i := range 8 {
			l.touch(fmt.Sprint("r", i))
		}
	}
	for _, tt := range []struct {
		name string
		at   int // the request before which the records move
	}{
		{"between the tries", 3},
		{"after the page was checked", 4},
		{"during the last page", 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := newBigList(30)
			k := newTask(t, list)
			lost := false
			list.before = func(n int) error {
				if n == 3 && !lost {
					lost = true
					return context.DeadlineExceeded
				}
				if n == tt.at {
					moveEight(list)
				}
				return nil
			}
			sought := "r21"
			if tt.name == "during the last page" {
				sought = "r28" // was the first of the last page
			}
			if found, err := k.look(t, sought); found || err == nil {
				t.Fatalf("%v, %v, want an error", found, err)
			}
			if found, err := k.look(t, sought); !found || err != nil {
				t.Errorf("%v, %v, want found", found, err)
			}
		})
	}
}

// A place that a worker cannot read is none.
func TestUnreadablePlaceIsTheStart(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"x", "{}", `{"since":"s","page":-1}`, `{"since":"s","page":2}`, `{"page":2,"print":"p"}`} {
		list := newBigList(10)
		k := newTask(t, list)
		k.place = place
		if found, err := k.look(t, "r9"); !found || err != nil || list.pages[0] != 0 {
			t.Errorf("%s: %v, %v, pages %v", place, found, err, list.pages)
		}
	}
}
