package anna_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/schedule"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// The guide's schedule file polls the alerts of every user in its subject file.
func TestScheduleOfTheGuideLoads(t *testing.T) {
	t.Parallel()
	_, example, _ := strings.Cut(string(clientstest.ReadFile(t, "../../docs/vendors/anna.md")), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	dir := t.TempDir()
	for name, content := range map[string]string{"schedules.yaml": example, "users.txt": "u-1001\nu-1002\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := schedule.Load(filepath.Join(dir, "schedules.yaml"), tasks.Vendors{anna.Vendor})
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Schedules) != 1 {
		t.Fatalf("%d schedules, want 1", len(file.Schedules))
	}
	polls := file.Schedules[0]
	if polls.Type != (anna.MessengerAlerts{}).Type() || polls.Subjects() != 2 {
		t.Errorf("%d tasks of type %s", polls.Subjects(), polls.Type)
	}
}
