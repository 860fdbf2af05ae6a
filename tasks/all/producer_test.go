package all_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"errand.internal/tasks/all"
)

const producer = `package main

import (
	"context"
	"os"

	"errand.internal/tasks"
	%q
)

func main() {
	client, err := tasks.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	ticket, err := tasks.Enqueue(context.Background(), client, %s{})
	if err != nil {
		panic(err)
	}
	if _, err := ticket.Wait(context.Background()); err != nil {
		panic(err)
	}
}
`

// An application that enqueues the tasks of one vendor gets a binary of at most 15 MB,
// and nothing that only a worker needs. One package that looks methods up by their name at
// run time, as the validator did, keeps all methods of all types: a third more.
func TestAProducerIsSmall(t *testing.T) {
	t.Parallel()
	forbidden := []string{
		"github.com/alecthomas/kong",
		"github.com/alicebob/miniredis/v2",
		"github.com/danielgtaylor/huma/v2",
		"github.com/go-playground/validator/v10",
		"github.com/hibiken/asynqmon",
		"go.opentelemetry.io/otel/sdk/trace",
		"google.golang.org/grpc",
		"testing",
	}
	for _, v := range all.Vendors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			payload := reflect.TypeOf(v.Types()[0].Example)
			dir := t.TempDir()
			file := filepath.Join(dir, "main.go")
			program := fmt.Sprintf(producer, payload.PkgPath(), payload.String())
			if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			goTool(t, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "producer"), file)
			info, err := os.Stat(filepath.Join(dir, "producer"))
			if err != nil {
				t.Fatal(err)
			}
			const limit = 15_000_000
			if info.Size() > limit {
				t.Errorf("the producer has %d bytes, more than %d", info.Size(), limit)
			}
			deps := strings.Fields(goTool(t, "list", "-deps", file))
			if !slices.Contains(deps, payload.PkgPath()) {
				t.Fatalf("%d packages, and not the vendor's", len(deps))
			}
			for _, name := range forbidden {
				if slices.Contains(deps, name) {
					t.Errorf("the producer has %s", name)
				}
			}
		})
	}
}

// goTool runs go in this module, and returns what it prints.
func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does; with cgo it has 0.4 % more
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
