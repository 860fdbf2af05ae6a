package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/fleet"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// refusal is a reason for which Redis answers and takes no writes.
type refusal struct {
	// code begins the error.
	code   string
	refuse func(h *harness)
	allow  func(h *harness)
}

var refusals = []refusal{
	{
		code:   "NOREPLICAS",
		refuse: func(h *harness) { h.configure("min-replicas-to-write", "1") },
		allow:  func(h *harness) { h.configure("min-replicas-to-write", "0") },
	},
	{
		code:   "OOM",
		refuse: func(h *harness) { h.configure("maxmemory", "1") },
		allow:  func(h *harness) { h.configure("maxmemory", "0") },
	},
	{
		code:   "READONLY", // a replica of a master that does not answer
		refuse: func(h *harness) { h.command("REPLICAOF", "127.0.0.1", "1") },
		allow:  func(h *harness) { h.command("REPLICAOF", "NO", "ONE") },
	},
	{
		code:   "MISCONF",
		refuse: (*harness).failToSave,
		allow:  func(h *harness) { h.configure("save", "") },
	},
}

// Redis takes no writes for a while, for one reason or another, while passcodes are
// at every step, most of them sent and not yet answered. All are done, each with one
// call.
func TestWritesRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range refusals {
		t.Run(tc.code, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, fleet.Options{Env: map[string]string{"WORKER_QUEUES": "otp=15"}})
			h.kinds = []*fleet.Kind{h.Passcodes}
			h.startWorkers(2)
			h.warmUp()
			before := h.Passcodes.Effects()
			answers := h.holdAnswers()
			defer answers.release()
			const inFlight = 30 // all slots of the workers
			ids := h.EnqueueMany(inFlight, h.Passcodes)
			if err := h.Passcodes.WaitEffects(limitContext(t), before+inFlight); err != nil {
				t.Fatal(err)
			}
			h.startWorkers(1) // with slots for those that come now
			ids = append(ids, h.EnqueueMany(10, h.Passcodes)...)
			tc.refuse(h)
			if err := h.Conn().Set(t.Context(), "probe", 1, 0).Err(); err == nil || !strings.HasPrefix(err.Error(), tc.code) {
				t.Fatalf("a write fails with %v, want %s", err, tc.code)
			}
			answers.release()
			fleet.Elapse(t, 16*time.Second) // a worker's heartbeat expires after 8 s
			tc.allow(h)
			allowed := time.Now()
			h.Wait(waitLimit, ids)
			t.Logf("all had ended %v after Redis took writes again", time.Since(allowed).Round(100*time.Millisecond))
			h.finish(waitLimit, tasks.Done)
			for _, id := range ids {
				if n := h.CallsOf(id); n != 1 {
					t.Errorf("%d calls for %s: %s", n, id, h.examples([]string{id}, tasks.Done))
				}
			}
			h.StopAll()
		})
	}
}

func (h *harness) configure(name, value string) {
	h.t.Helper()
	if err := h.Conn().ConfigSet(h.t.Context(), name, value).Err(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) command(args ...any) {
	h.t.Helper()
	if err := h.Conn().Do(h.t.Context(), args...).Err(); err != nil {
		h.t.Fatal(err)
	}
}

// failToSave makes Redis fail to write its file, with a directory in its place.
func (h *harness) failToSave() {
	h.t.Helper()
	ctx := h.t.Context()
	dir := h.Conn().ConfigGet(ctx, "dir").Val()["dir"]
	file := h.Conn().ConfigGet(ctx, "dbfilename").Val()["dbfilename"]
	if err := os.Mkdir(filepath.Join(dir, file), 0o700); err != nil {
		h.t.Fatal(err)
	}
	h.configure("save", "3600 1")
	h.command("BGSAVE")
	testwait.Eventually(h.t, waitLimit, "Redis fails to save", func() bool {
		return strings.Contains(h.Conn().Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err")
	})
}
