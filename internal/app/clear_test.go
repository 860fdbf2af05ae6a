package app_test

import (
	"errors"
	"strings"
	"testing"

	"errand.internal/internal/app"
	"errand.internal/internal/config"
)

func TestClearCoolDownRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("danaconnect", "dckap")
	delete(f.Environ, "DANACONNECT_CLIENT_ID")
	delete(f.Environ, "DANACONNECT_CLIENT_SECRET")
	for _, tc := range []struct {
		name    string
		profile string
		change  map[string]string
		text    string
	}{
		{
			name:    "no such credential",
			profile: "bob",
			text:    `no credential is named "bob"; there are danaconnect-otp, dckap`,
		},
		{
			name:    "its settings are wrong",
			profile: "danaconnect-otp",
			change:  map[string]string{"DANACONNECT_COMPANY": ""},
			text:    "DANACONNECT_COMPANY: is not set",
		},
		{
			name:    "wrong REDIS_URL",
			profile: "dckap",
			change:  map[string]string{"REDIS_URL": "http://canary"},
			text:    "REDIS_URL: must begin with",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text, err := app.ClearCoolDown(t.Context(), f.With(tc.change), tc.profile)
			_, setting := errors.AsType[*config.Error](err)
			_, argument := errors.AsType[*app.ArgumentError](err)
			if setting == argument || text != "" ||
				!strings.Contains(err.Error(), tc.text) ||
				strings.Contains(err.Error(), "canary") {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	t.Run("another vendor's settings are wrong", func(t *testing.T) {
		t.Parallel()
		environ := f.With(map[string]string{"DANACONNECT_COMPANY": ""})
		if _, err := app.ClearCoolDown(t.Context(), environ, "dckap"); err != nil {
			t.Error(err)
		}
	})
}
