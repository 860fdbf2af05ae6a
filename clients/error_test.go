package clients_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"errand.internal/clients"
)

func TestErrorText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  clients.Error
		want string
	}{
		{
			"all",
			clients.Error{
				Vendor:  "acme",
				Op:      "order",
				Message: "the request is refused",
				Status:  400,
				Code:    "15",
			},
			"acme order: the request is refused (HTTP 400, code 15)",
		},
		{"no code", clients.Error{
			Vendor:  "acme",
			Op:      "order",
			Message: "gone",
			Status:  404,
		}, "acme order: gone (HTTP 404)"},
		{"no status", clients.Error{
			Vendor:  "acme",
			Op:      "order",
			Message: "no",
			Code:    "15",
		}, "acme order: no (code 15)"},
		{"no message", clients.Error{Vendor: "acme", Op: "order", Kind: clients.Declined}, "acme order: declined"},
		{"no operation", clients.Error{Vendor: "acme", Kind: clients.Temporary}, "acme: temporary"},
		{"cause", clients.Error{
			Vendor:  "acme",
			Op:      "order",
			Message: "broken",
			Err:     io.EOF,
		}, "acme order: broken: EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInvalidRequestWasNotSent(t *testing.T) {
	t.Parallel()
	got := *clients.InvalidRequest("acme", "order", "the body is not JSON")
	want := clients.Error{
		Vendor:  "acme",
		Op:      "order",
		Kind:    clients.Invalid,
		Message: "the body is not JSON",
		NotSent: true,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAsErrorFindsTheErrorAndItsCause(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("send code: %w", &clients.Error{Vendor: "acme", Kind: clients.Blocked, Err: io.EOF})
	e, ok := clients.AsError(err)
	if !ok || e.Kind != clients.Blocked || !errors.Is(err, io.EOF) {
		t.Errorf("AsError = %v, %v; cause found: %v", e, ok, errors.Is(err, io.EOF))
	}
	if _, ok := clients.AsError(io.EOF); ok {
		t.Error("AsError found something in io.EOF")
	}
}

func TestKindNames(t *testing.T) {
	t.Parallel()
	for kind, want := range map[clients.Kind]string{
		clients.Unknown:     "unknown",
		clients.Temporary:   "temporary",
		clients.Blocked:     "blocked",
		clients.Credentials: "credentials",
		clients.Invalid:     "invalid",
		clients.Declined:    "declined",
		clients.Kind(99):    "unknown",
	} {
		if got := kind.String(); got != want {
			t.Errorf("Kind(%d) = %q, want %q", kind, got, want)
		}
	}
}
