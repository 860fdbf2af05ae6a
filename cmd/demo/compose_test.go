package main

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"

	"errand.internal/internal/sandboxes"
)

// docker-compose.yml repeats the settings that lead a worker to the sandboxes.
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
	want := sandboxes.New("").Environ("http://vendors:8099")
	if len(want) == 0 {
		t.Error("no sandbox has settings")
	}
	for name, value := range want {
		if written, found := got[name]; !found {
			t.Errorf("docker-compose.yml: worker-demo lacks %s: %s", name, value)
		} else if written != value {
			t.Errorf("docker-compose.yml: worker-demo has %s=%q, the sandbox wants %q", name, written, value)
		}
	}
}
