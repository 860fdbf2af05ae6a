package broker

import (
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestAnotherReleaseOfAsynqIsRefused(t *testing.T) {
	t.Parallel()
	other := &debug.Module{Path: "example.com/other", Version: "v1.0.0"}
	for _, tc := range []struct {
		name    string
		modules []*debug.Module
		says    string // "" for no error
	}{
		{name: "the one that is known", modules: []*debug.Module{other, {Path: asynqModule, Version: asynqVersion}}},
		{name: "a program that does not say", modules: []*debug.Module{other}},
		{name: "newer", modules: []*debug.Module{other, {Path: asynqModule, Version: "v0.27.0"}}, says: "asynq v0.27.0"},
		{name: "older", modules: []*debug.Module{{Path: asynqModule, Version: "v0.25.1"}}, says: "asynq v0.25.1"},
		{
			name: "replaced by a fork", says: "asynq example.com/fork v0.26.0",
			modules: []*debug.Module{{Path: asynqModule, Version: asynqVersion, Replace: &debug.Module{Path: "example.com/fork", Version: asynqVersion}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := checkAsynq(tc.modules)
			if (err != nil) != (tc.says != "") {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				return
			}
			for _, want := range []string{tc.says, "v0.26.0 only", "go get github.com/hibiken/asynq@v0.26.0"} {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%q does not say %q in one line", err, want)
				}
			}
		})
	}
}

// The release that this package knows is the one that it is built with.
func TestTheKnownReleaseOfAsynqIsRequired(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*` + asynqModule + ` (\S+)`).FindSubmatch(mod)
	if found == nil || string(found[1]) != asynqVersion {
		t.Errorf("go.mod requires %s, and this package knows %s: work through the list in doc.go", found, asynqVersion)
	}
	if err := CheckAsynq(); err != nil {
		t.Errorf("a test is refused: %v", err)
	}
}
