package clientstest

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
)

// Bodies checks how the client interprets a 2xx whose body cannot be trusted, and
// one whose body is unusual but complete.
func Bodies(t *testing.T, s Subject) {
	t.Helper()
	unreadableBodies(t, s)
	completeBodies(t, s)
	t.Run("byte by byte for too long", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{Call: time.Second})
		sb.Inject(sandbox.Fault{Op: s.Op, Slow: time.Second})
		expectKind(t, call(t.Context()), s.Unreadable)
	})
	t.Run("redirects are never followed", func(t *testing.T) {
		t.Parallel()
		ignoresRedirects(t, s)
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
		for _, r := range sb.Requests(sandbox.Unrouted) {
			t.Errorf("a call to the unknown path %s", r.URI)
		}
	})
}

// unreadableBodies checks bodies that say neither success nor failure.
func unreadableBodies(t *testing.T, s Subject) {
	t.Helper()
	raw := func(body string) sandbox.Fault {
		return sandbox.Fault{Body: new(body), AfterEffect: true}
	}
	tests := []struct {
		name  string
		fault sandbox.Fault
	}{
		{"empty", sandbox.Fault{Status: http.StatusOK, AfterEffect: true}},
		{"no content", sandbox.Fault{Status: http.StatusNoContent, AfterEffect: true}},
		{"spaces", raw(" \r\n ")},
		{"web page", sandbox.Fault{HTML: true, AfterEffect: true}},
		{"web page labelled as JSON", sandbox.Fault{
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
		{"cut-off JSON of the announced length", raw(`{"success":true,"responseCode":"01"`)},
		{"trailing garbage", raw(`{"success":true,"responseCode":"01","idRequest":1}garbage`)},
		{"two objects", raw(`{}{}`)},
		{"null", raw(`null`)},
		{"array", raw(`[]`)},
		{"text", raw(`"OK"`)},
		{"number", raw(`1`)},
		{"empty object", raw(`{}`)},
		{"ten megabytes", sandbox.Fault{Oversized: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, call := s.start(t, clients.Timeouts{})
			tt.fault.Op = s.Op
			sb.Inject(tt.fault)
			e := expectKind(t, call(t.Context()), s.Unreadable)
			if e.NotSent {
				t.Error("NotSent is true, but an answer came")
			}
		})
	}
}

// completeBodies checks bodies that arrive slowly or with the wrong label.
func completeBodies(t *testing.T, s Subject) {
	t.Helper()
	tests := []struct {
		name  string
		fault sandbox.Fault
	}{
		{"byte by byte", sandbox.Fault{Slow: time.Microsecond}},
		{"labelled as text", sandbox.Fault{ContentType: "text/plain"}},
		{"labelled as a web page", sandbox.Fault{ContentType: "text/html"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb, call := s.start(t, clients.Timeouts{})
			tt.fault.Op = s.Op
			sb.Inject(tt.fault)
			if err := call(t.Context()); err != nil {
				t.Errorf("a complete answer was refused: %v", err)
			}
		})
	}
}

func ignoresRedirects(t *testing.T, s Subject) {
	t.Helper()
	var followed atomic.Int32
	count := func(http.ResponseWriter, *http.Request) {
		followed.Add(1)
	}
	other := httptest.NewServer(http.HandlerFunc(count))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		sb, call := s.start(t, clients.Timeouts{})
		sb.Inject(sandbox.Fault{
			Op:       s.Op,
			Redirect: other.URL + "/elsewhere",
			Status:   status,
		})
		err := call(t.Context())
		want := clients.Invalid
		if sb.Requests(s.Op)[0].Method == http.MethodPost && !s.Login {
			want = clients.Unknown
		}
		expectKind(t, err, want)
		if n := followed.Load(); n != 0 {
			t.Errorf("status %d was followed", status)
		}
		if n := sb.Calls(s.Op); n != 1 {
			t.Errorf("status %d: %d calls, want 1", status, n)
		}
	}
}
