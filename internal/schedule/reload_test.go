package schedule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// replace changes a file as an editor does that writes in place.
func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReload edits the file of a running scheduler, rightly and wrongly.
func TestReload(t *testing.T) {
	t.Parallel()
	const (
		inForce = "the schedule file has changed and is in force"
		broken  = "the schedule file is broken; the schedules from before go on"
		runs    = "the schedule runs"
		stopped = "the schedule was taken out and has stopped"
	)
	s := newSite(t)
	s.work(nil)
	const one = "  - {name: one, every: 1s, type: \"anna:messenger:alerts\", forEach: {userId: \"@users.txt\"}}\n"
	const two = "  - {name: two, every: 1s, type: \"anna:messenger:alerts\", payload: {userId: t}}\n"
	path := write(t, map[string]string{"s.yaml": "schedules:\n" + one + two, "users.txt": "u1\n"})
	w := s.scheduler("a", mustLoad(t, path)).run(t)
	has := func(what, subject string) {
		t.Helper()
		s.book.mu.Lock()
		var now int64
		for a := range s.book.ids {
			now = max(now, a.slot)
		}
		s.book.mu.Unlock()
		s.book.until(t, what, func() bool {
			for a := range s.book.ids {
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
		t.Error("the metric says that the file is right")
	}
	has("the schedule from before goes on", "u1")

	users := filepath.Join(filepath.Dir(path), "users.txt")
	replace(t, path, "schedules:\n"+one+two+"# right again\n")
	w.log.wait(t, inForce, 1)
	if testutil.ToFloat64(w.metrics.fileOK) != 1 {
		t.Error("the metric says that the file is wrong")
	}
	if n := w.log.count(runs); n != 2 {
		t.Errorf("%d runners were started: the schedules have not changed", n)
	}

	replace(t, users, "u1\nu2\n")
	w.log.wait(t, inForce, 2)
	has("a new subject", "u2")

	if err := os.Remove(users); err != nil {
		t.Fatal(err)
	}
	w.log.wait(t, broken, 2)
	has("a list that is gone goes on", "u2")

	replace(t, path, "schedules:\n"+two)
	w.log.wait(t, stopped, 1)
	s.book.mu.Lock()
	var last int64
	for a := range s.book.ids {
		if a.subject != "" {
			last = max(last, a.slot)
		}
	}
	s.book.mu.Unlock()
	has("the other goes on", "")
	has("the other goes on", "")
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	for a := range s.book.ids {
		if a.subject != "" && a.slot > last {
			t.Errorf("%v was enqueued after the schedule was taken out", a)
		}
	}
	if n := testutil.CollectAndCount(w.metrics.ticks); n != len(tickResults) {
		t.Errorf("the metric has %d rows, want those of one schedule", n)
	}
	if n := w.log.count(broken); n != 2 {
		t.Errorf("the log said %d times that the file is broken, want once for each content", n)
	}
	for a, ids := range s.book.ids {
		if len(ids) != 1 {
			t.Errorf("%v was enqueued %d times", a, len(ids))
		}
	}
}

// TestWatch looks without waiting.
func TestWatch(t *testing.T) {
	t.Parallel()
	path := write(t, map[string]string{"s.yaml": "schedules: []\n"})
	w := newWatch(mustLoad(t, path).from)
	looks := func(n int) (changes int) {
		for range n {
			if w.look() != nil {
				changes++
			}
		}
		return changes
	}
	if n := looks(5); n != 0 {
		t.Errorf("%d changes of a file that has not changed", n)
	}
	replace(t, path, "schedules: []\n") // written again
	if n := looks(5); n != 0 {
		t.Errorf("%d changes of a file with the same content", n)
	}
	// The same size, and perhaps the same time.
	replace(t, path, "schedules: {}\n")
	if n := looks(5); n != 1 {
		t.Errorf("%d changes seen, want one", n)
	}
	if n := looks(5); n != 0 {
		t.Errorf("a broken file is read anew %d times", n)
	}
	replace(t, path, "schedules: []\n")
	if r := w.look(); r != nil {
		t.Error("a change was taken at the first look: it may be half written")
	}
	if n := looks(5); n != 1 {
		t.Errorf("%d changes seen, want one", n)
	}
	// Another file under the same name, as a mounted volume does it.
	other := write(t, map[string]string{"s.yaml": "schedules: [] # other\n"})
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if n := looks(5); n != 1 {
		t.Errorf("%d changes seen, want one", n)
	}
}
