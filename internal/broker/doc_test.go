package broker

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that doc.go names exists.
func TestTheListOfAssumptionsNamesTests(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../worker/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	names := regexp.MustCompile(`\b(Test|Fuzz)\w+`).FindAllString(string(doc), -1)
	if len(names) < 20 {
		t.Errorf("only the tests %v are named", names)
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "func "+name+"(") {
			t.Errorf("there is no test %s", name)
		}
	}
}
