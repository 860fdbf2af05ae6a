package doctor_test

import (
	"strings"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/doctor"
	"errand.internal/internal/redistest"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dinero"
)

// fixture is a Redis and the sandboxes of three accounts: DANAConnect's Basic login
// and DCKAP's token cannot be proven by a login; Dinero's one organization can.
type fixture struct {
	*apptest.Fixture
	dinero *dinerotest.Sandbox
}

func newFixture(t *testing.T, opts ...redistest.Option) *fixture {
	t.Helper()
	f := &fixture{Fixture: apptest.New(t, opts...)}
	f.dinero = sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
	f.Only("danaconnect", "dckap", "dinero")
	f.Remove("DANACONNECT_CLIENT_")
	f.Environ["DINERO_API_KEYS"] = dinerotest.Organization + "=" + dinerotest.APIKey
	f.Environ["ENCRYPTION_KEYS"] = apptest.EncryptionKeys
	return f
}

// logins counts the logins at Dinero.
func (f *fixture) logins() int {
	return f.dinero.Calls(dinerotest.OpToken)
}

func otpFor(mail string) danaconnect.OTPSend {
	return danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: mail}},
	}
}

var listContacts = dinero.APICall{
	OrganizationID: dinerotest.Organization,
	Method:         "GET",
	Path:           "contacts",
}

// report is a diagnosis as text.
type report struct {
	ok   bool
	text string
}

func runDoctor(t *testing.T, environ map[string]string) report {
	t.Helper()
	d := doctor.Run(t.Context(), environ)
	var b strings.Builder
	if err := d.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return report{d.OK(), b.String()}
}

// has reports whether the report has a line with this level, this name and this
// text, and a following line with each fix.
func (r report) has(level, name, text string, fix ...string) bool {
	lines := strings.Split(r.text, "\n")
	for i, line := range lines {
		shownLevel, rest, _ := strings.Cut(line, "  ")
		shownName, seen, _ := strings.Cut(strings.TrimLeft(rest, " "), "  ")
		if strings.TrimSpace(shownLevel) != level || shownName != name || !strings.Contains(seen, text) {
			continue
		}
		for _, f := range fix {
			if !strings.Contains(lines[i+1], "fix: "+f) {
				return false
			}
		}
		return true
	}
	return false
}

func (r report) want(t *testing.T, level, name, text string, fix ...string) {
	t.Helper()
	if !r.has(level, name, text, fix...) {
		t.Errorf("no line %s %s with %q and the fixes %q in\n%s", level, name, text, fix, r.text)
	}
}
