package anna_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/apptest"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// The export of inactivations tells when one was requested, the tries that failed,
// and when the vendor confirmed it.
func TestOffboardingExport(t *testing.T) {
	t.Parallel()
	f := apptest.New(t)
	f.Environ["ENCRYPTION_KEYS"] = apptest.EncryptionKeys
	vendor := sandbox.Find[*annatest.Sandbox](f.Sandboxes)
	w := f.Start(t)
	vendor.Inject(sandbox.Fault{Op: annatest.OpInactivate, Status: 500, Times: 1})
	if _, err := apptest.Run(t, w, anna.UserInactivate{UserID: annatest.DemoLeaver}); err != nil {
		t.Fatal(err)
	}

	var out bytes.Buffer
	if err := app.ExportOffboarding(t.Context(), f.Environ, false, &out); err != nil {
		t.Fatal(err)
	}
	var leaver app.Offboarding
	if err := json.Unmarshal(out.Bytes(), &leaver); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if leaver.UserID != annatest.DemoLeaver || leaver.Type != "anna:user:inactivate" || leaver.Confirmed == nil ||
		len(leaver.Attempts) != 1 ||
		leaver.Outcome != tasks.Done ||
		leaver.Requested.After(*leaver.Confirmed) {
		t.Errorf("leaver = %+v", leaver)
	}
	out.Reset()
	if err := app.ExportOffboarding(t.Context(), f.Environ, true, &out); err != nil || out.Len() != 0 {
		t.Errorf("unconfirmed: %q, %v", out.String(), err)
	}
	keyless := f.With(map[string]string{"ENCRYPTION_KEYS": ""})
	if err := app.ExportOffboarding(t.Context(), keyless, false, &out); err == nil ||
		!strings.Contains(err.Error(), "ENCRYPTION_KEYS") {
		t.Errorf("without keys: %v", err)
	}
}
