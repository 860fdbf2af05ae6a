package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/redisguard"
)

// acmeSettings name the variables of a credential, and have nothing else.
type acmeSettings struct{ account.Settings }

func (acmeSettings) CredentialVariables() []string {
	return []string{"ACME_USER", "ACME_PASSWORD"}
}

var acme = config.Account{Settings: acmeSettings{}}

func TestStaticCheck(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	for _, tc := range []struct {
		name  string
		state admission.State
		level redisguard.Level
		seen  string
	}{
		{"never used", admission.State{}, redisguard.Warn, "unproven: no harmless call"},
		{"proven", admission.State{Proven: true}, redisguard.OK, "proven"},
		{"refused, may be tried", admission.State{Profile: "p", Refusals: 2, Reason: "the vendor refused a call"}, redisguard.Warn, "unproven; refused 2 times (the vendor refused a call), may be tried again"},
		{"ended", admission.State{Proven: true, ExpiresOn: day(9)}, redisguard.Fail, "expired on 2026-03-09"},
		{"ends today", admission.State{Proven: true, ExpiresOn: day(10)}, redisguard.Warn, "expires on 2026-03-10"},
		{"ends soon", admission.State{Proven: true, ExpiresOn: day(39)}, redisguard.Warn, "expires on 2026-04-08"},
		{"ends later", admission.State{Proven: true, ExpiresOn: day(41)}, redisguard.OK, "proven"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := staticCheck(tc.state, acme, now)
			if c.Level != tc.level || !strings.Contains(c.Seen, tc.seen) ||
				(c.Level == redisguard.OK) != (c.Fix == "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestCoolDownCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		state  admission.State
		logsIn bool
		level  redisguard.Level // "" means that it is not cooling down
		seen   string
	}{
		{"free", admission.State{Refusals: 1}, true, "", ""},
		{"refused, though a token is left", admission.State{
			CoolingFor: time.Minute,
			Refused:    true,
			Refusals:   2,
			TokenFor:   time.Hour,
		}, true, redisguard.Fail, "refused 2 times, next try in 1m0s"},
		{"refused call", admission.State{CoolingFor: time.Minute, Refused: true, Refusals: 1}, false, redisguard.Fail, "refused once"},
		{"outage", admission.State{CoolingFor: time.Second}, true, redisguard.Fail, "login service in trouble, next try in 1s"},
		{"outage with a token", admission.State{CoolingFor: time.Second, TokenFor: time.Hour}, true, redisguard.Warn, "token valid for 1h0m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, cooling := coolDownCheck(tc.state, acme, tc.logsIn)
			if cooling != (tc.level != "") || c.Level != tc.level || !strings.Contains(c.Seen, tc.seen) ||
				cooling && c.Fix == "" {
				t.Errorf("%t %+v", cooling, c)
			}
		})
	}
}

func TestUntriedCheck(t *testing.T) {
	t.Parallel()
	if c := untriedCheck(admission.State{TokenFor: time.Hour}, "why", "fix"); c.Level != redisguard.OK ||
		!strings.Contains(c.Seen, "valid for 1h0m0s (not tried from here: why)") ||
		c.Fix != "" {
		t.Errorf("%+v", c)
	}
	if c := untriedCheck(admission.State{}, "why", "fix"); c.Level != redisguard.Warn || c.Fix != "fix" {
		t.Errorf("%+v", c)
	}
}

func TestFailedLoginCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		seen string
	}{
		{"refused", &admission.Blocked{Refused: true, Key: "acme", RetryAfter: time.Minute, Reason: "credential acme was refused (why)"}, "credential acme was refused (why); next try in 1m0s"},
		{"in trouble", &admission.Blocked{Key: "acme", RetryAfter: time.Second, Err: &clients.Error{Vendor: "acme", Op: "get token", Status: 503}}, "acme get token: unknown (HTTP 503)"},
		{"in trouble lately", &admission.Blocked{Key: "acme", RetryAfter: time.Second, Reason: "login of acme is unavailable", Err: errors.New("the login service failed lately")}, "login of acme is unavailable; next try in 1s"},
		{"too slow", context.DeadlineExceeded, "did not end within the doctor's 20s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if c := failedLoginCheck(tc.err, acme); c.Level != redisguard.Fail ||
				!strings.Contains(c.Seen, tc.seen) ||
				c.Fix == "" {
				t.Errorf("%+v", c)
			}
		})
	}
}
