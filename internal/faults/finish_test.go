package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"errand.internal/internal/fleet"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// finish waits for the end of all tasks, checks them, and asserts that asynq agrees
// and that they ended with one of the allowed outcomes.
func (h *harness) finish(limit time.Duration, allowed ...tasks.Outcome) fleet.Report {
	h.t.Helper()
	return h.finishTasks(limit, h.tasks(), allowed...)
}

// finishTasks is finish for some of the tasks, which are all that Redis has.
func (h *harness) finishTasks(limit time.Duration, ids []string, allowed ...tasks.Outcome) fleet.Report {
	h.t.Helper()
	h.Wait(limit, ids)
	h.waitSettled(ids)
	report := h.Check(ids)
	for outcome, n := range report.Outcomes {
		if !slices.Contains(allowed, outcome) {
			h.t.Errorf("%d tasks ended %s: %s", n, outcome, h.examples(ids, outcome))
		}
	}
	h.t.Logf(
		"%d tasks, %d of them passcodes: %v, %d calls",
		len(ids),
		len(h.ofKind(ids, h.Passcodes)),
		report.Outcomes,
		report.Calls,
	)
	return report
}

// waitSettled waits until asynq has nothing left to do, and asserts that the records
// agree with its queues: every task is among the completed or the archived ones.
func (h *harness) waitSettled(ids []string) {
	h.t.Helper()
	inspector := asynq.NewInspectorFromRedisClient(h.Conn())
	deadline := time.Now().Add(time.Minute)
	for _, name := range loadQueues {
		used := slices.ContainsFunc(ids, func(id string) bool {
			queue, _ := record.QueueOf(id)
			return queue == name
		})
		var state string
		settled := testwait.Poll(max(time.Until(deadline), time.Second), func() bool {
			var ok bool
			state, ok = h.queueState(inspector, name)
			return ok || !used && strings.Contains(state, "does not exist")
		})
		if !settled {
			h.t.Errorf("asynq's queue %s does not settle: %s", name, state)
		}
	}
	h.CheckQueues()
}

// queueState describes asynq's queue, and reports whether it is settled.
func (h *harness) queueState(inspector *asynq.Inspector, name string) (state string, settled bool) {
	info, err := inspector.GetQueueInfo(name)
	if err != nil {
		return err.Error(), false
	}
	stored := len(h.keys("asynq:{" + name + "}:t:*"))
	state = fmt.Sprintf(
		"%d pending, %d active, %d scheduled, %d retry, %d completed, %d archived, %d tasks",
		info.Pending,
		info.Active,
		info.Scheduled,
		info.Retry,
		info.Completed,
		info.Archived,
		stored,
	)
	unfinished := info.Pending + info.Active + info.Scheduled + info.Retry
	return state, unfinished == 0 && info.Completed+info.Archived == stored
}

// keys returns the keys that match a pattern, which begins with their hash tag.
func (h *harness) keys(pattern string) []string {
	h.t.Helper()
	if h.Cluster == nil {
		return h.Conn().Keys(h.t.Context(), pattern).Val()
	}
	node, err := h.Cluster.Client().MasterForKey(h.t.Context(), pattern)
	if err != nil {
		h.t.Fatalf("find the node of %s: %v", pattern, err)
	}
	return node.Keys(h.t.Context(), pattern).Val()
}

// examples describes some of the tasks with an outcome.
func (h *harness) examples(ids []string, outcome tasks.Outcome) string {
	var b strings.Builder
	for _, id := range ids {
		status, err := h.Client.Status(h.t.Context(), id)
		if err != nil || status.Outcome != outcome || b.Len() > 2000 {
			continue
		}
		fmt.Fprintf(&b, "\n  %s %q, calls:", id, status.Message)
		for _, a := range status.History {
			fmt.Fprintf(&b, " [%s %s %v %q]", a.At.Format(time.TimeOnly), a.Class, a.Took, a.Message)
		}
	}
	return b.String()
}

// checkFirstCall asserts that every task is done with its first and only call.
func (h *harness) checkFirstCall(ids []string) {
	h.t.Helper()
	if report := h.CheckDone(ids); report.Calls != len(ids) {
		h.t.Errorf("%d calls for %d tasks", report.Calls, len(ids))
	}
	for i, n := range h.CountedAttempts(ids) {
		if n != "1" {
			h.t.Errorf("%s spent %q attempts, want 1", ids[i], n)
		}
	}
}

// summary describes the distribution of durations.
func summary(times []time.Duration) string {
	if len(times) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(times))
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	return fmt.Sprintf(
		"min %v, median %v, max %v, of %d",
		round(sorted[0]),
		round(sorted[len(sorted)/2]),
		round(sorted[len(sorted)-1]),
		len(sorted),
	)
}

// logCounts prints counts in a fixed order.
func logCounts[K ~string, V any](t *testing.T, what string, counts map[K]V) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%s %-16s %v", what, key, counts[key])
	}
}
