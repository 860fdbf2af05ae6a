package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"errand.internal/tasks/all"
)

// completions are what a shell offers for a line up to the cursor.
var completions = []struct {
	line          string
	want, without []string
}{
	{"enqueue ", []string{"bulk", "status", "--version", "anna:user:hash"}, []string{"enqueue", "--set"}},
	{"enqueue dinero:c", []string{"dinero:contact:create"}, []string{"dinero:invoice:create", "bulk"}},
	{"enqueue anna:user:hash --", []string{"--set", "--dry-run", "--help"}, []string{"--receipt"}},
	{"enqueue bulk --", []string{"--receipt", "--key-column", "--notify"}, []string{"--set"}},
	{"enqueue bulk f.csv --type danaconnect:otp:", []string{"danaconnect:otp:send"}, []string{"anna:user:hash"}},
	{"enqueue types ", []string{"dckap:dynamic:call"}, []string{"bulk"}},
	{"enqueue completion ", []string{"bash", "zsh"}, []string{"fish"}},
	{"enqueue bulk ", nil, []string{"--receipt", "anna:user:hash"}}, // files
}

// completionScript writes the script of a shell to a file.
func completionScript(t *testing.T, shell string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"completion", shell}, nil, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	for _, info := range all.Vendors.Types() {
		if !strings.Contains(stdout.String(), info.Type) {
			t.Errorf("%s is never offered", info.Type)
		}
	}
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(stdout.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func testCompletions(t *testing.T, complete func(line string) *exec.Cmd, shown func(line, candidate string) string) {
	t.Helper()
	for _, tt := range completions {
		cmd := complete(tt.line)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v: %s", tt.line, err, out)
			continue
		}
		got := strings.Fields(string(out))
		for _, want := range tt.want {
			if !slices.Contains(got, shown(tt.line, want)) {
				t.Errorf("%q is completed with %q, without %s", tt.line, got, want)
			}
		}
		for _, without := range tt.without {
			if slices.Contains(got, shown(tt.line, without)) {
				t.Errorf("%q is completed with %s", tt.line, without)
			}
		}
	}
}

func TestBashCompletes(t *testing.T) {
	t.Parallel()
	script := completionScript(t, "bash")
	complete := func(line string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "bash", "--norc", "-uc", `. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _enqueue; echo "${COMPREPLY[@]}"`,
			"bash", script, line)
	}
	// bash completes what follows the last colon.
	testCompletions(t, complete, func(line, candidate string) string {
		word := line[strings.LastIndex(line, " ")+1:]
		return strings.TrimPrefix(candidate, word[:strings.LastIndex(word, ":")+1])
	})
}

func TestZshCompletes(t *testing.T) {
	t.Parallel()
	script := completionScript(t, "zsh")
	const body = `compdef() { [[ "$*" == "_enqueue enqueue" ]] || exit 1 }
_files() { }
compadd() { shift; local c; for c in "$@"; do [[ $c == $words[CURRENT]* ]] && print -r -- $c; done; return 0 }
. "$1"; words=("${(@s: :)2}"); CURRENT=$#words; _enqueue`
	complete := func(line string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "zsh", "-fc", body, "zsh", script, line)
	}
	testCompletions(t, complete, func(_, candidate string) string { return candidate })
}
