package clientstest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
)

// statusKind is what an answer without a body means.
type statusKind struct {
	kind       clients.Kind
	status     int
	retryAfter string // the header
	repeatable bool   // the call may happen twice
}

// statusKinds repeats the kinds of clients.StatusRules on purpose: it states the
// promise and does not copy the code under test. doubt says that a redirect of a call
// that must not be repeated may come after its work.
func statusKinds(doubt bool) []statusKind {
	var all []statusKind
	for _, row := range []struct {
		kind     clients.Kind
		statuses []int
	}{
		{clients.Invalid, []int{400, 404, 405, 413, 415, 422}},
		{clients.Invalid, []int{402, 406, 409, 410, 418, 431, 451, 499}},
		{clients.Credentials, []int{401, 403}},
		{clients.Blocked, []int{425, 429}},
		{clients.Unknown, []int{408, 500, 501, 502, 504, 505, 520, 524, 598, 599, 600, 999}},
	} {
		for _, status := range row.statuses {
			for _, repeatable := range []bool{false, true} {
				all = append(all, statusKind{row.kind, status, "7", repeatable})
			}
		}
	}
	for _, repeatable := range []bool{false, true} {
		redirect := clients.Invalid
		if doubt && !repeatable {
			redirect = clients.Unknown
		}
		for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
			all = append(all, statusKind{redirect, status, "7", repeatable})
		}
		all = append(all,
			statusKind{clients.Unknown, 503, "", repeatable},
			statusKind{clients.Temporary, 503, "7", repeatable},
		)
	}
	return all
}

// Statuses checks how the client interprets every status if the body says nothing,
// for a call that may happen twice and for one that must not.
func Statuses(t *testing.T, s Subject) {
	t.Helper()
	for _, row := range statusKinds(s.redirectIsUnknown(t)) {
		name := fmt.Sprintf("%d, Retry-After %q, repeatable %v", row.status, row.retryAfter, row.repeatable)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb, call := s.start(t, clients.Timeouts{})
			sb.Inject(sandbox.Fault{
				Op:         s.Op,
				Status:     row.status,
				RetryAfter: row.retryAfter,
			})
			ctx := clients.WithRepeatable(t.Context(), row.repeatable)
			e := expectKind(t, call(ctx), s.kindOf(row.status, row.kind))
			if e.Status != row.status {
				t.Errorf("status %d in the error, want %d", e.Status, row.status)
			}
			if e.NotSent {
				t.Error("NotSent is true, but an answer came")
			}
			wait := row.kind == clients.Blocked || row.kind == clients.Temporary
			if wait && e.RetryAfter != 7*time.Second {
				t.Errorf("RetryAfter = %v, want the header's 7 s", e.RetryAfter)
			}
			if row.kind == clients.Invalid && e.RetryAfter != 0 {
				t.Errorf("RetryAfter = %v for a request that must not be repeated", e.RetryAfter)
			}
		})
	}
	t.Run("retry after a date", func(t *testing.T) {
		t.Parallel()
		sb, call := s.start(t, clients.Timeouts{})
		// The server's clock is years ahead: only the difference may count.
		server := time.Date(2031, 5, 4, 12, 0, 0, 0, time.UTC)
		sb.Inject(sandbox.Fault{
			Op:         s.Op,
			Status:     http.StatusServiceUnavailable,
			Header:     map[string]string{"Date": server.Format(http.TimeFormat)},
			RetryAfter: server.Add(90 * time.Second).Format(http.TimeFormat),
		})
		want := s.kindOf(http.StatusServiceUnavailable, clients.Temporary)
		if e := expectKind(t, call(t.Context()), want); e.RetryAfter != 90*time.Second {
			t.Errorf("RetryAfter = %v, want 90 s", e.RetryAfter)
		}
	})
}

// kindOf returns the vendor's own kind for a status, or else the usual one.
func (s Subject) kindOf(status int, usual clients.Kind) clients.Kind {
	if kind, ok := s.Kinds[status]; ok {
		return kind
	}
	return usual
}

// redirectIsUnknown reports whether a redirect may come after the work of a call that
// must not be repeated: it answers a POST.
func (s Subject) redirectIsUnknown(t *testing.T) bool {
	t.Helper()
	sb, call := s.start(t, clients.Timeouts{})
	_ = call(t.Context())
	requests := sb.Requests(s.Op)
	if len(requests) == 0 {
		t.Fatalf("no request of %s", s.Op)
	}
	return requests[0].Method == http.MethodPost && !s.Login
}
