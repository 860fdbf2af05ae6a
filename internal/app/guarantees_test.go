package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every promise of docs/guarantees.md names the tests that hold it, and they exist.
func TestEveryGuaranteeNamesTests(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	text, table, found := strings.Cut(string(raw), "## Held by")
	if !found {
		t.Fatal("docs/guarantees.md does not say what holds its promises")
	}
	tests := testsOfTheModule(t)
	named := regexp.MustCompile("`([a-z]+\\.(?:Test|Fuzz)\\w+)`")
	held := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "promise" {
			continue
		}
		names := named.FindAllStringSubmatch(cells[2], -1)
		held[strings.TrimSpace(cells[1])] = len(names) > 0
		if len(names) != strings.Count(cells[2], ".") {
			t.Errorf("some of %s are no tests", cells[2])
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("there is no test %s", name[1])
			}
		}
	}
	promises := regexp.MustCompile(`(?m)^- \*\*(.+?)\.\*\*`).FindAllStringSubmatch(text, -1)
	if len(promises) < 10 {
		t.Fatalf("docs/guarantees.md has only the promises %q", promises)
	}
	for _, promise := range promises {
		if !held[promise[1]] {
			t.Errorf("no test holds %q", promise[1])
		}
	}
}

// testsOfTheModule are the tests of all packages, as package.Test, where package is the
// last part of its path.
func testsOfTheModule(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	tests := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, name := range declared.FindAllStringSubmatch(string(code), -1) {
			tests[filepath.Base(filepath.Dir(path))+"."+name[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
