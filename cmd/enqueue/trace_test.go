package main

import (
	"strings"
	"testing"

	"github.com/hibiken/asynq"
)

// A task has the trace of the program that started the command. A TRACEPARENT that is none
// is ignored.
func TestTraceFromTheEnvironment(t *testing.T) {
	t.Parallel()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	h := newHarness(t)
	inspector := asynq.NewInspectorFromRedisClient(h.redis.Client())
	traceOf := func(id string) string {
		t.Helper()
		info, err := inspector.GetTaskInfo("dckap", id)
		if err != nil {
			t.Fatal(err)
		}
		return info.Headers["traceparent"]
	}
	for given, want := range map[string]string{
		parent:           parent,
		"":               "",
		"canary":         "",
		parent + "-more": "",
	} {
		h.environ["TRACEPARENT"] = given
		one := h.wantExit(0, pipeCall, "--payload", pipePayload, "--json").report(t)
		if got := traceOf(one.ID); got != want {
			t.Errorf("with TRACEPARENT %q the task has the trace %q, want %q", given, got, want)
		}
	}
	h.environ["TRACEPARENT"] = parent
	row := `{"type":"` + pipeCall + `","payload":` + strings.Replace(pipePayload, order, order+"-bulk", 1) + `}`
	rows := h.runWith(t.Context(), strings.NewReader(row), "bulk", "-")
	_, rest, _ := strings.Cut(rows.stdout, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if got := traceOf(id); got != parent {
		t.Errorf("a row has the trace %q, want %q (%s)", got, parent, rows.stdout+rows.stderr)
	}
}
