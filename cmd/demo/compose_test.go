package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/sandboxes"
)

// composeBase is the address of the sandboxes in docker-compose.yml.
const composeBase = "http://vendors:8099"

// docker-compose.yml repeats the settings that lead a worker to the sandboxes.
func TestGoldenCompose(t *testing.T) {
	const indent = "      "
	var part strings.Builder
	for _, v := range sandboxes.New("") {
		environ := v.Environ(composeBase)
		for _, name := range slices.Sorted(maps.Keys(environ)) {
			// Compose replaces what follows a single $.
			fmt.Fprintf(&part, "%s%s: %q\n", indent, name, strings.ReplaceAll(environ[name], "$", "$$"))
		}
	}
	part.WriteString(indent + "# ") // before the last marker, which is a comment in YAML
	clientstest.GoldenPart(t, "../../docker-compose.yml", "sandboxes", part.String())
}

// The generated part is YAML, and in the service that needs it.
func TestComposeWorkerHasTheSettingsOfEverySandbox(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	got := file.Services["worker-demo"].Environment
	want := sandboxes.New("").Environ(composeBase)
	if len(want) == 0 {
		t.Error("no sandbox has settings")
	}
	for name, value := range want {
		if written, found := got[name]; !found {
			t.Errorf("docker-compose.yml: worker-demo lacks %s: run make golden", name)
		} else if strings.ReplaceAll(written, "$$", "$") != value {
			t.Errorf("docker-compose.yml: worker-demo has %s=%q, the sandbox wants %q", name, written, value)
		}
	}
}
