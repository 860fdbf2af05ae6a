package clients_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/admission"
)

// What a login was answered with stands in the record of the call that had no token:
// the status of a wrong token URL, and of an answer that cannot be read.
func TestBlockedErrorSaysWhatTheLoginAnswered(t *testing.T) {
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
	err := clients.BlockedError("dinero", "invoice create", &admission.Blocked{
		Key:        "dinero-1",
		Reason:     "login of dinero-1 is unavailable (" + login.LoginFault() + ")",
		RetryAfter: time.Second,
		Err:        login,
	})
	if err.Status != 404 || err.Code != "40" || err.Kind != clients.Blocked || !strings.Contains(err.Error(), fault) {
		t.Errorf("got %+v: %v", err, err)
	}
}
