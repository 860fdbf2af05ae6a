package broker_test

import (
	"maps"
	"slices"
	"testing"

	"errand.internal/internal/tracing"
)

// A task has the trace of its producer, and without one not a byte of it.
func TestOnlyATracedTaskCarriesATrace(t *testing.T) {
	t.Parallel()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	r := newRig(t)
	headers := func(id string) map[string]string {
		t.Helper()
		info, err := r.asynq.GetTaskInfo(queue, id)
		if err != nil {
			t.Fatal(err)
		}
		return info.Headers
	}
	if got := slices.Collect(maps.Keys(headers(r.enqueue().ID))); !slices.Equal(got, []string{"errand-usable"}) {
		t.Errorf("a task without a trace has the headers %q", got)
	}
	ticket, err := r.producer.Enqueue(tracing.With(t.Context(), parent), sample())
	if err != nil {
		t.Fatal(err)
	}
	if got := headers(ticket.ID)["traceparent"]; got != parent {
		t.Errorf("the task has the trace %q, want %q", got, parent)
	}
}
