package main

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"
)

// The accounts of the sandboxes stand in the compose file too.
func TestComposePointsItsWorkerAtTheSandboxes(t *testing.T) {
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
	have := file.Services["worker-demo"].Environment
	for name, want := range newSandboxes().environ("http://vendors:8099") {
		if have[name] != want {
			t.Errorf("worker-demo has %s=%q, the sandboxes want %q", name, have[name], want)
		}
	}
}
