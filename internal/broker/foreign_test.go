package broker_test

import (
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// What asynq's own tools take out of a queue ends, and its key is free: a leaver whose
// inactivation was deleted by mistake can be inactivated again.
func TestATaskThatAForeignToolTookAwayEnds(t *testing.T) {
	t.Parallel()
	retried := func(r *rig, inDoubt bool) string {
		c := r.start()
		r.end(c, broker.Result{
			Wait:    time.Hour,
			Attempt: &record.Attempt{At: time.Now(), Class: "temporary"},
			InDoubt: inDoubt,
		})
		return c.ID
	}
	for _, tc := range []struct {
		name    string
		prepare func(r *rig) string
		archive bool
		outcome record.Outcome
		free    bool
	}{
		{name: "scheduled, deleted", outcome: record.Cancelled, free: true},
		{name: "scheduled, archived", archive: true, outcome: record.Cancelled, free: true},
		{name: "attempted, deleted", prepare: func(r *rig) string { return retried(r, false) }, outcome: record.Failed, free: true},
		{name: "attempted, archived", prepare: func(r *rig) string { return retried(r, false) }, archive: true, outcome: record.Failed, free: true},
		{name: "in doubt, deleted", prepare: func(r *rig) string { return retried(r, true) }, outcome: record.Unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			job := func(j *broker.Job) {
				j.Key = "k"
				j.Policy.Redelivery = broker.Reconciled
				if tc.prepare == nil {
					j.In = time.Hour
				}
			}
			id := r.enqueue(job).ID
			if tc.prepare != nil {
				tc.prepare(r)
			}
			remains := r.enqueue(func(j *broker.Job) { j.In = time.Hour }).ID
			var err error
			if tc.archive {
				err = r.asynq.ArchiveTask(queue, id)
			} else {
				err = r.asynq.DeleteTask(queue, id)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := r.server("w").EndForeign(t.Context(), queue); err != nil {
				t.Fatal(err)
			}
			if got := r.get(id); got.Outcome != tc.outcome {
				t.Errorf("it ended %q (%s), want %s", got.Outcome, got.Message, tc.outcome)
			}
			if got := r.get(remains); got.State != record.Scheduled {
				t.Errorf("a task that is where it was is %s", got.State)
			}
			if again := r.enqueue(job); again.Duplicate == tc.free {
				t.Errorf("the key leads to the old task: %v", again.Duplicate)
			}
			r.check()
		})
	}
}
