package clients_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// What a login was answered with stands in the record of the call that had no token:
// the status of a wrong token URL, and of an answer that cannot be read.
func TestTokenErrorSaysWhatTheLoginAnswered(t *testing.T) {
	t.Parallel()
	login := &clients.Error{
		Vendor:  "dinero",
		Op:      clients.OpToken,
		Kind:    clients.Invalid,
		Status:  404,
		Code:    "40",
		Message: "there is no such address or object",
	}
	const fault = "there is no such address or object (HTTP 404, code 40)"
	if got := login.LoginFault(); got != fault {
		t.Errorf("got %q, want %q", got, fault)
	}
	err := clients.TokenError("dinero", "invoice create", &tokens.UnavailableError{
		Profile:    "dinero-1",
		RetryAfter: time.Second,
		Reason:     login.LoginFault(),
		Err:        login,
	})
	if err.Status != 404 || err.Code != "40" || err.Kind != clients.Temporary || !strings.Contains(err.Error(), fault) {
		t.Errorf("got %+v: %v", err, err)
	}
}
