package publicapi

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAnotherModuleTestsWithoutRedis compiles an application of another module, which
// can import nothing from internal/, and runs its unit tests, for which nobody has
// started a Redis.
func TestAnotherModuleTestsWithoutRedis(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/shop")); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, "mod", "edit", "-replace", "errand.internal="+here)
	run(t, dir, "test", "-mod=mod", "./...")
}

func run(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as other tests build, so that all share what is compiled
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}
