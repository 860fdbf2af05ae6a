package clientstest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
)

// Statuses checks what the client makes of every status where the body says
// nothing. The table is written out here a second time, on purpose: it is the
// promise, not a copy of the code under test.
func Statuses(t *testing.T, s Subject) {
	t.Helper()
	table := []struct {
		kind     clients.Kind
		wait     bool
		statuses []int
	}{
		{clients.Invalid, false, []int{300, 301, 302, 303, 304, 307, 308}},
		{clients.Invalid, false, []int{400, 404, 405, 413, 415, 422}},
		{clients.Invalid, false, []int{402, 406, 409, 410, 418, 431, 451, 499}},
		{clients.Credentials, false, []int{401, 403}},
		{clients.RateLimited, true, []int{425, 429}},
		{clients.Temporary, true, []int{503}},
		{clients.Unknown, false, []int{408, 500, 501, 502, 504, 505, 520, 599, 600, 999}},
	}
	for _, row := range table {
		for _, status := range row.statuses {
			want := row.kind
			if kind, ok := s.Kinds[status]; ok {
				want = kind
			}
			t.Run(fmt.Sprint(status), func(t *testing.T) {
				t.Parallel()
				sb, call := s.start(t, clients.Timeouts{})
				sb.Inject(sandbox.Fault{
					Op:         s.Op,
					Status:     status,
					RetryAfter: "7",
				})
				e := expectKind(t, call(t.Context()), want)
				if e.Status != status {
					t.Errorf("status %d in the error, want %d", e.Status, status)
				}
				if e.NotSent {
					t.Error("an answer came, so the request was sent")
				}
				if row.wait && e.RetryAfter != 7*time.Second {
					t.Errorf("RetryAfter = %v, want the header's 7 s", e.RetryAfter)
				}
				if row.kind == clients.Invalid && e.RetryAfter != 0 {
					t.Errorf(
						"RetryAfter = %v for a request that must not be repeated",
						e.RetryAfter,
					)
				}
			})
		}
	}
	t.Run("retry after a date", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{})
		// The server's clock is years away from ours: only the difference counts.
		server := time.Date(2031, 5, 4, 12, 0, 0, 0, time.UTC)
		sb.Inject(sandbox.Fault{
			Op:         s.Op,
			Status:     http.StatusServiceUnavailable,
			Header:     map[string]string{"Date": server.Format(http.TimeFormat)},
			RetryAfter: server.Add(90 * time.Second).Format(http.TimeFormat),
		})
		want := clients.Temporary
		if kind, ok := s.Kinds[http.StatusServiceUnavailable]; ok {
			want = kind
		}
		if e := expectKind(t, call(t.Context()), want); e.RetryAfter != 90*time.Second {
			t.Errorf("RetryAfter = %v, want 90 s", e.RetryAfter)
		}
	})
}

// Bodies checks what the client makes of a 2xx with a body that cannot be
// trusted, and of one that is odd but whole.
func Bodies(t *testing.T, s Subject) {
	t.Helper()
	raw := func(body string) sandbox.Fault {
		return sandbox.Fault{Body: new(body), AfterEffect: true}
	}
	bad := []struct {
		name  string
		fault sandbox.Fault
	}{
		{"empty", sandbox.Fault{Status: http.StatusOK, AfterEffect: true}},
		{"no content", sandbox.Fault{Status: http.StatusNoContent, AfterEffect: true}},
		{"spaces", raw(" \r\n ")},
		{"web page", sandbox.Fault{HTML: true, AfterEffect: true}},
		{"web page called JSON", sandbox.Fault{
			HTML:        true,
			ContentType: "application/json",
			AfterEffect: true,
		}},
		{"XML", sandbox.Fault{
			Body:        new("<ok/>"),
			ContentType: "application/xml",
			AfterEffect: true,
		}},
		{"cut off", sandbox.Fault{Truncate: true}},
		{"cut JSON of right length", raw(`{"success":true,"responseCode":"01"`)},
		{
			"trailing garbage",
			raw(`{"success":true,"responseCode":"01","idRequest":1}garbage`),
		},
		{"two objects", raw(`{}{}`)},
		{"null", raw(`null`)},
		{"array", raw(`[]`)},
		{"text", raw(`"OK"`)},
		{"number", raw(`1`)},
		{"empty object", raw(`{}`)},
		{"ten megabytes", sandbox.Fault{Oversized: true}},
	}
	for _, tt := range bad {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, call := s.start(t, clients.Timeouts{})
			tt.fault.Op = s.Op
			sb.Inject(tt.fault)
			e := expectKind(t, call(t.Context()), s.Unreadable)
			if e.NotSent {
				t.Error("an answer came, so the request was sent")
			}
		})
	}
	good := []struct {
		name  string
		fault sandbox.Fault
	}{
		{"byte by byte", sandbox.Fault{Slow: time.Microsecond}},
		{"called text", sandbox.Fault{ContentType: "text/plain"}},
		{"called a web page", sandbox.Fault{ContentType: "text/html"}},
	}
	for _, tt := range good {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, call := s.start(t, clients.Timeouts{})
			tt.fault.Op = s.Op
			sb.Inject(tt.fault)
			if err := call(t.Context()); err != nil {
				t.Errorf("a whole answer was refused: %v", err)
			}
		})
	}
	t.Run("byte by byte for too long", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{Call: time.Second})
		sb.Inject(sandbox.Fault{Op: s.Op, Slow: time.Second})
		expectKind(t, call(t.Context()), s.Unreadable)
	})
	t.Run("redirects are never followed", func(t *testing.T) {
		t.Parallel()
		var followed atomic.Int32
		other := httptest.NewServer(
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				followed.Add(1)
			}),
		)
		t.Cleanup(other.Close)
		for _, status := range []int{301, 302, 303, 307, 308} {
			sb, call := s.start(t, clients.Timeouts{})
			sb.Inject(sandbox.Fault{
				Op:       s.Op,
				Redirect: other.URL + "/elsewhere",
				Status:   status,
			})
			expectKind(t, call(t.Context()), clients.Invalid)
			if n := followed.Load(); n != 0 {
				t.Errorf("status %d was followed", status)
			}
			if n := sb.Calls(s.Op); n != 1 {
				t.Errorf("status %d: %d calls, want 1", status, n)
			}
		}
	})
	t.Run("the plain call succeeds", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{})
		if err := call(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sb.Calls(s.Op) != 1 {
			t.Errorf("%d calls of %s, want 1", sb.Calls(s.Op), s.Op)
		}
		if stray := sb.Requests(sandbox.Unrouted); len(stray) != 0 {
			t.Errorf("calls to unknown paths: %v", slices.Collect(uris(stray)))
		}
	})
}

func uris(requests []sandbox.Request) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, r := range requests {
			if !yield(r.URI) {
				return
			}
		}
	}
}
