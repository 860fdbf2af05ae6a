package app_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
)

// The end of a task as a dead letter is one JSON line in which every member is named
// once. apptest checks the lines of every worker that a test starts.
func TestDeadTaskIsLoggedWithItsData(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("danaconnect")
	w := f.Start(t)
	f.danaconnect.Inject(sandbox.Fault{Op: "send", Status: 500})
	if _, err := apptest.Run(t, w, otpFor("ana@example.com")); apptest.Outcome(err) != "unknown" {
		t.Fatalf("the task ended with %v", err)
	}
	w.Log.Wait(t, `"alert":"task.dead"`)
	for line := range strings.Lines(w.Log.String()) {
		var entry struct {
			Alert   string
			Message string
			Data    map[string]string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Alert != "" && (entry.Message != "task.dead" || entry.Data["outcome"] != "unknown" || entry.Data["message"] == "") {
			t.Errorf("%s", line)
		}
	}
}

// A duration is a bare number in a JSON line, so its member's name has the unit.
func TestLoggedDurationsNameTheirUnit(t *testing.T) {
	t.Parallel()
	call := regexp.MustCompile(`\.Durs?\("([^"]*)"`)
	found := 0
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range call.FindAllStringSubmatch(string(code), -1) {
			found++
			if !strings.HasSuffix(m[1], "_ms") {
				t.Errorf("%s: %q does not end with _ms", path, m[1])
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("%d durations (%v)", found, err)
	}
}

// Colours are for a terminal: a file or a container's log is read without one.
func TestConsoleLogHasNoColourOutsideATerminal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("dckap")
	f.Environ["LOG_FORMAT"] = "console"
	w := f.Start(t)
	w.Log.Wait(t, "worker is ready")
	if text := w.Log.String(); strings.ContainsRune(text, '\x1b') {
		t.Errorf("%q", text)
	}
}
