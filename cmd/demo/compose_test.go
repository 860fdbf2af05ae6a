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

// vendorsInCompose is where the containers reach the sandboxes.
const vendorsInCompose = "http://vendors:8099"

// docker-compose.yml repeats the settings that lead a worker to the sandboxes.
func TestGoldenComposeFile(t *testing.T) {
	var lines strings.Builder
	for _, v := range sandboxes.New("") {
		environ := v.Environ(vendorsInCompose)
		for _, name := range slices.Sorted(maps.Keys(environ)) {
			fmt.Fprintf(&lines, "      %s: %q\n", name, literal(environ[name]))
		}
	}
	clientstest.GoldenPart(t, "../../docker-compose.yml", "sandboxes", lines.String())
}

// literal keeps Compose from replacing variables in a value.
func literal(value string) string {
	return strings.ReplaceAll(value, "$", "$$")
}

// The worker of the demo has them.
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
	want := sandboxes.New("").Environ(vendorsInCompose)
	if len(want) == 0 {
		t.Error("no sandbox has settings")
	}
	for name, value := range want {
		if written, found := got[name]; !found {
			t.Errorf("docker-compose.yml: worker-demo lacks %s: run make golden", name)
		} else if written != literal(value) {
			t.Errorf("docker-compose.yml: worker-demo has %s=%q, the sandbox wants %q", name, written, value)
		}
	}
}
