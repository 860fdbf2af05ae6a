package account

import (
	"context"
	"errors"
	"testing"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/testwait"
	"errand.internal/internal/tokens"
)

// While an account is paused nobody logs in to it, and its static credential is not tried.
// All that is made for one account shares one pause.
func TestNobodyLogsInToAPausedAccount(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	if _, err := record.New(rdb).PauseAccount(t.Context(), "shop", record.Pause{Reason: "r"}, 0); err != nil {
		t.Fatal(err)
	}
	a := New(Shared{Redis: rdb})
	t.Cleanup(a.Close)
	logins := 0
	profile := admission.Profile{Name: "shop", Identity: admission.Identity{Secrets: []secret.String{secret.New("s")}}}
	source := a.Source(tokens.Profile{Profile: profile, Fetch: func(context.Context) (tokens.Grant, error) {
		logins++
		return tokens.Grant{Value: secret.New("token")}, nil
	}})
	gate := a.Gate(profile)
	admitter := a.Admitter(profile, admission.Limits{}, settings.Share{})
	if len(a.Pauses) != 1 || a.Pauses[0].Account() != "shop" {
		t.Fatalf("%d pauses", len(a.Pauses))
	}
	try := func() map[string]error {
		_, errSource := source.Get(t.Context())
		_, errGate := gate.Acquire(t.Context())
		_, errCall := admitter.Acquire(t.Context(), admission.Request{})
		return map[string]error{"login": errSource, "credential": errGate, "call": errCall}
	}
	for what, err := range try() {
		if blocked, ok := errors.AsType[*admission.Blocked](err); !ok || blocked.Key != "shop:pause" {
			t.Errorf("the %s of a paused account: %v", what, err)
		}
	}
	if logins != 0 {
		t.Errorf("%d logins", logins)
	}
	if _, err := record.New(rdb).ResumeAccount(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, 20*time.Second, "a login after the resumption", func() bool {
		_, err := source.Get(t.Context())
		return err == nil
	})
	for what, err := range try() {
		if err != nil {
			t.Errorf("the %s after the resumption: %v", what, err)
		}
	}
}
