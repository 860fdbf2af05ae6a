package faults

import (
	"sync"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/operator"
	"errand.internal/tasks"
)

// archiveLimit is the size at which the script fails with which asynq trims its
// archive.
const archiveLimit = 8000

// noSuchConversation makes the vendor refuse a passcode for good.
var noSuchConversation = sandbox.Fault{Code: "10"}

// More tasks end archived than asynq can keep, as fast as the workers can end them.
// Each is exported once, asynq's archive stays below the size at which its trimming
// fails, and the queue keeps working.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{Env: map[string]string{"WORKER_QUEUES": "otp=40"}})
	h.Start(2)
	proven := h.EnqueueNew(h.Passcodes)
	h.Wait(waitLimit, []string{proven})
	h.Passcodes.Inject(noSuchConversation)
	n := fleet.Size(8500, 12_000)
	largestArchive := h.watchArchive()
	start := time.Now()
	ids := h.EnqueueMany(n, h.Passcodes)
	h.Wait(15*time.Minute, ids)
	took := time.Since(start)
	if report := h.Check(ids); report.Outcomes[tasks.Invalid] != n {
		t.Errorf("%v of %d tasks", report.Outcomes, n)
	}
	h.Passcodes.Engine.Clear(h.Passcodes.Op)

	exported := h.exportDeadLetters()
	for _, id := range ids {
		if exported[id] != 1 {
			t.Errorf("%s is exported %d times, want once", id, exported[id])
		}
	}
	if len(exported) != n {
		t.Errorf("%d dead letters, want %d", len(exported), n)
	}
	largest := largestArchive()
	t.Logf(
		"%d dead letters in %v (%.0f a second), all exported; asynq's archive held at most %d",
		n,
		took.Round(time.Second),
		float64(n)/took.Seconds(),
		largest,
	)
	if largest >= archiveLimit {
		t.Errorf("asynq's archive grew to %d, and its trimming fails above %d", largest, archiveLimit)
	}
	after := h.EnqueueMany(20, h.Passcodes)
	h.Wait(waitLimit, after)
	h.CheckDone(append(after, proven))
	h.StopAll()
}

// exportDeadLetters returns how often each task is in the export.
func (h *harness) exportDeadLetters() map[string]int {
	h.t.Helper()
	o, err := operator.Open(h.t.Context(), h.Settings())
	if err != nil {
		h.t.Fatal(err)
	}
	defer o.Close()
	exported := map[string]int{}
	err = o.EachDeadLetter(h.t.Context(), operator.LetterFilter{Queue: "otp"}, func(l operator.DeadLetter) error {
		if l.Outcome != tasks.Invalid || l.Type != h.Passcodes.Type || l.Code != "10" || l.Attempts != 1 {
			h.t.Errorf("dead letter %+v", l)
		}
		exported[l.ID]++
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return exported
}

// watchArchive watches the size of asynq's archive until largest is called, which
// returns the largest one.
func (h *harness) watchArchive() (largest func() int64) {
	h.t.Helper()
	end := make(chan struct{})
	ended := make(chan struct{})
	var size int64
	go func() {
		defer close(ended)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			size = max(size, h.Conn().ZCard(h.t.Context(), "asynq:{otp}:archived").Val())
			select {
			case <-ticker.C:
			case <-end:
				return
			case <-h.t.Context().Done():
				return
			}
		}
	}()
	return sync.OnceValue(func() int64 {
		close(end)
		<-ended
		return size
	})
}
