package schedule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// replace changes a file as an editor does that writes it in place.
func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReload changes the file of a running scheduler, with and without problems.
func TestReload(t *testing.T) {
	t.Parallel()
	const (
		applied = "schedule file changed and applied"
		broken  = "schedule file has problems; the previous schedules continue"
		started = "schedule started"
		removed = "schedule removed from the file; stopped"
	)
	f := newFixture(t)
	f.startWorker(nil)
	const one = "  - {name: one, every: 1s, type: \"shop:stock:read\", forEach: {itemId: \"@items.txt\"}}\n"
	const two = "  - {name: two, every: 1s, type: \"shop:stock:read\", payload: {itemId: t}}\n"
	path := write(t, map[string]string{"s.yaml": "schedules:\n" + one + two, "items.txt": "u1\n"})
	w := f.scheduler("a", mustLoad(t, path)).run(t)
	has := func(what, subject string) {
		t.Helper()
		f.recorder.mu.Lock()
		var now int64
		for a := range f.recorder.ids {
			now = max(now, a.slot)
		}
		f.recorder.mu.Unlock()
		f.recorder.waitFor(t, what, func() bool {
			for a := range f.recorder.ids {
				if a.slot > now && a.subject == subject {
					return true
				}
			}
			return false
		})
	}
	has("the first subject", "u1")
	has("the other schedule", "")

	replace(t, path, strings.Replace("schedules:\n"+one+two, "every: 1s", "evry: 1s", 1))
	line := w.log.wait(t, broken, 1)
	if text, _ := line["error"].(string); !strings.Contains(text, "s.yaml:2:17: one: evry is unknown") {
		t.Errorf("the log says %q", text)
	}
	if testutil.ToFloat64(w.metrics.fileOK) != 0 {
		t.Error("errand_schedule_file_ok is 1 although the file has problems")
	}
	has("the previous schedule continues", "u1")

	list := filepath.Join(filepath.Dir(path), "items.txt")
	replace(t, path, "schedules:\n"+one+two+"# correct again\n")
	w.log.wait(t, applied, 1)
	if testutil.ToFloat64(w.metrics.fileOK) != 1 {
		t.Error("errand_schedule_file_ok is 0 although the file is correct")
	}
	if n := w.log.count(started); n != 2 {
		t.Errorf("%d runners were started, want 2: the schedules have not changed", n)
	}

	replace(t, list, "u1\nu2\n")
	w.log.wait(t, applied, 2)
	has("a new subject", "u2")

	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	w.log.wait(t, broken, 2)
	has("the schedule continues without its subject file", "u2")

	replace(t, path, "schedules:\n"+two)
	w.log.wait(t, removed, 1)
	f.recorder.mu.Lock()
	var last int64
	for a := range f.recorder.ids {
		if a.subject != "" {
			last = max(last, a.slot)
		}
	}
	f.recorder.mu.Unlock()
	has("the other schedule continues", "")
	has("the other schedule continues", "")
	f.recorder.mu.Lock()
	defer f.recorder.mu.Unlock()
	for a := range f.recorder.ids {
		if a.subject != "" && a.slot > last {
			t.Errorf("%v was enqueued after the schedule was removed", a)
		}
	}
	if n := testutil.CollectAndCount(w.metrics.ticks); n != len(tickResults) {
		t.Errorf("the metric has %d series, want those of one schedule", n)
	}
	if n := w.log.count(broken); n != 2 {
		t.Errorf("the log has %d lines about problems of the file, want one for each content", n)
	}
	for a, ids := range f.recorder.ids {
		if len(ids) != 1 {
			t.Errorf("%v was enqueued %d times", a, len(ids))
		}
	}
}

func TestWatcherReportsChangesOfContent(t *testing.T) {
	t.Parallel()
	path := write(t, map[string]string{"s.yaml": "schedules: []\n"})
	w := newWatcher(mustLoad(t, path).source)
	check := func(n int) (changes int) {
		for range n {
			if w.check() != nil {
				changes++
			}
		}
		return changes
	}
	if n := check(5); n != 0 {
		t.Errorf("%d changes of a file that has not changed", n)
	}
	replace(t, path, "schedules: []\n") // rewritten
	if n := check(5); n != 0 {
		t.Errorf("%d changes of a file with the same content", n)
	}
	// The same size, and perhaps the same time.
	replace(t, path, "schedules: {}\n")
	if n := check(5); n != 1 {
		t.Errorf("%d changes seen, want one", n)
	}
	if n := check(5); n != 0 {
		t.Errorf("%d changes of a file that still has the same problems", n)
	}
	replace(t, path, "schedules: []\n")
	if r := w.check(); r != nil {
		t.Error("a change was applied at the first check, when the file may be half written")
	}
	if n := check(5); n != 1 {
		t.Errorf("%d changes seen, want one", n)
	}
	// Another file under the same name, as a mounted volume replaces it.
	other := write(t, map[string]string{"s.yaml": "schedules: [] # other\n"})
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if n := check(5); n != 1 {
		t.Errorf("%d changes seen, want one", n)
	}
}
