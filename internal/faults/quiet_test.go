package faults

import (
	"strings"
	"testing"
	"time"

	"errand.internal/internal/fleet"
)

// Nothing happens for a while. Then a passcode is acknowledged at once, and one that
// the vendor puts off comes back in time, although all that waits in the worker has
// waited in vain: for a task, or for an answer of Redis.
func TestQuietPhase(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{})
	h.startWorkers(1)
	h.warmUp()
	h.Quiet(31*time.Second, h.Passcodes)
	h.Fixture.StopAll()
}

// StopAll stops all workers. In a long run, a quiet phase comes before.
func (h *harness) StopAll() {
	h.t.Helper()
	if fleet.Long() {
		kind := h.Passcodes
		if !strings.Contains(h.Settings()["WORKER_QUEUES"], kind.Queue()+"=") {
			kind = h.Invoices
		}
		h.Quiet(fleet.QuietPhase, kind)
	}
	h.Fixture.StopAll()
}
