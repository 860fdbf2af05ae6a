package tasks_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"errand.internal/tasks"
)

// A producer's client writes nothing to its application's stderr, whatever state Redis
// is in.
func TestClientWritesNothingToStderr(t *testing.T) {
	if os.Getenv("ERRAND_TEST_PRODUCER") != "" {
		client, err := tasks.Open("redis://127.0.0.1:1/0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Status(t.Context(), "otp_abc"); err == nil {
			t.Error("nobody listens, and the status is known")
		}
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClientWritesNothingToStderr$")
	cmd.Env = append(os.Environ(), "ERRAND_TEST_PRODUCER=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if out, err := cmd.Output(); err != nil || stderr.Len() > 0 {
		t.Errorf("%v: stderr %q, stdout %s", err, stderr.String(), out)
	}
}
