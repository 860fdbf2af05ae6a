package clientstest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
)

// statusKinds repeats the kinds of clients.StatusRules on purpose: it states the
// promise and does not copy the code under test.
var statusKinds = []struct {
	kind     clients.Kind
	wait     bool // Retry-After is honoured
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

// Statuses checks how the client interprets every status if the body says nothing.
func Statuses(t *testing.T, s Subject) {
	t.Helper()
	for _, row := range statusKinds {
		for _, status := range row.statuses {
			t.Run(fmt.Sprint(status), func(t *testing.T) {
				t.Parallel()
				sb, call := s.start(t, clients.Timeouts{})
				sb.Inject(sandbox.Fault{
					Op:         s.Op,
					Status:     status,
					RetryAfter: "7",
				})
				e := expectKind(t, call(t.Context()), s.kindOf(status, row.kind))
				if e.Status != status {
					t.Errorf("status %d in the error, want %d", e.Status, status)
				}
				if e.NotSent {
					t.Error("NotSent is true, but an answer came")
				}
				if row.wait && e.RetryAfter != 7*time.Second {
					t.Errorf("RetryAfter = %v, want the header's 7 s", e.RetryAfter)
				}
				if row.kind == clients.Invalid && e.RetryAfter != 0 {
					t.Errorf("RetryAfter = %v for a request that must not be repeated", e.RetryAfter)
				}
			})
		}
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
