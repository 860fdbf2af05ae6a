package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
)

// snippet is a piece of code in a page that says with which program it runs.
type snippet struct{ program, code string }

var snippetPattern = regexp.MustCompile("(?s)<!-- snippet: (\\w+) -->\n```\\w+\n(.*?)```")

func snippetsOf(t *testing.T, page string) []snippet {
	t.Helper()
	var list []snippet
	for _, found := range snippetPattern.FindAllStringSubmatch(string(clientstest.ReadFile(t, page)), -1) {
		list = append(list, snippet{found[1], found[2]})
	}
	return list
}

// extensions are those of the files that the programs run.
var extensions = map[string]string{
	"sh":      ".sh",
	"python3": ".py",
	"node":    ".mjs",
	"php":     ".php",
}

// run runs a snippet against the demo, in a folder of its own, and returns what it prints.
func (s *system) run(t *testing.T, sn snippet) []byte {
	t.Helper()
	program, err := exec.LookPath(sn.program)
	if err != nil {
		t.Fatalf("%v: make test installs it (.ci/need)", err)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "snippet"+extensions[sn.program])
	if err := os.WriteFile(file, []byte(sn.code), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(clientstest.Within(t), program, file)
	cmd.Dir = folder
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + folder,
		"ERRAND_URL=http://" + s.apiAddr,
		"ERRAND_KEY=" + apiKey,
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return out
}

// Every snippet of docs/producing.md runs as it stands there, and its passcode is sent;
// so does the curl line of the README against make demo.
func TestSnippetsSendAPasscode(t *testing.T) {
	t.Parallel()
	s := startSystem(t, nil)
	list := snippetsOf(t, "../../docs/producing.md")
	for _, sn := range snippetsOf(t, "../../README.md") {
		code := strings.ReplaceAll(sn.code, "http://127.0.0.1:"+apiPort+"/", "http://"+s.apiAddr+"/")
		list = append(list, snippet{sn.program, code})
	}
	ran := map[string]int{}
	for _, sn := range list {
		ran[sn.program]++
		out := s.run(t, sn)
		if strings.Contains(sn.code, "/v1/tasks:bulk") {
			if want := `{"rows":2,"enqueued":2,"duplicates":0,"refused":0,"failed":0}`; !strings.Contains(string(out), want) {
				t.Errorf("the bulk printed %s", out)
			}
			continue
		}
		var task struct {
			Outcome string
			Data    struct{ IDRequest json.RawMessage }
		}
		if err := json.Unmarshal(out, &task); err != nil || task.Outcome != "done" || len(task.Data.IDRequest) == 0 {
			t.Errorf("%s: printed %s (%v)", sn.program, out, err)
		}
	}
	for program := range extensions {
		if ran[program] == 0 {
			t.Errorf("no snippet runs with %s", program)
		}
	}
	if ran["sh"] != 3 {
		t.Errorf("%d snippets run with sh, want one of each kind and the README's", ran["sh"])
	}
}
