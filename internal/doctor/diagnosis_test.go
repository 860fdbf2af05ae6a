package doctor

import (
	"strings"
	"testing"

	"errand.internal/internal/redisguard"
)

func TestDiagnosisText(t *testing.T) {
	t.Parallel()
	d := Diagnosis{Checks: []Check{
		{Name: "settings", Level: redisguard.OK, Seen: "complete and valid"},
		{Name: "redis persistence", Level: redisguard.Warn, Seen: "none", Fix: "switch it on"},
		{Name: "acme dns", Level: redisguard.Fail, Seen: "acme.example does not resolve", Fix: "correct ACME_URL"},
	}}
	var b strings.Builder
	if err := d.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `ok    settings           complete and valid
warn  redis persistence  none
                         fix: switch it on
FAIL  acme dns           acme.example does not resolve
                         fix: correct ACME_URL
`
	if b.String() != want || d.OK() {
		t.Errorf("ok %t\n%s", d.OK(), b.String())
	}
	raw, err := d.MarshalJSON()
	if err != nil ||
		!strings.HasPrefix(
			string(raw),
			`{"ok":false,"checks":[{"name":"settings","level":"ok","seen":"complete and valid","fix":""},{"name":"redis persistence","level":"warn"`,
		) {
		t.Errorf("%s, %v", raw, err)
	}
	d.Checks = d.Checks[:2]
	if !d.OK() {
		t.Error("a warning counts as a failure")
	}
}
