package fleet

import (
	"testing"

	"errand.internal/tasks"
)

func TestExpectedEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		redelivery     tasks.Redelivery
		declinedCounts bool
		state          tasks.State
		outcome        tasks.Outcome
		classes        []string
		problem        string
		effects        string
	}{
		{
			name:       "sent",
			redelivery: tasks.AtMostOnce,
			outcome:    tasks.Done,
			classes:    []string{"temporary", "done"},
			effects:    "1",
		},
		{
			name:       "may have been sent",
			redelivery: tasks.AtMostOnce,
			outcome:    tasks.Unknown,
			classes:    []string{"unknown"},
			effects:    "0 to 1",
		},
		{
			name:       "given up",
			redelivery: tasks.AtMostOnce,
			outcome:    tasks.Failed,
			effects:    "0",
		},
		{
			name:       "expired",
			redelivery: tasks.AtMostOnce,
			outcome:    tasks.Expired,
			effects:    "0",
		},
		{
			name:       "refused",
			redelivery: tasks.AtMostOnce,
			outcome:    tasks.Declined,
			effects:    "0",
		},
		{
			name:           "refusal that counts",
			redelivery:     tasks.AtMostOnce,
			declinedCounts: true,
			outcome:        tasks.Declined,
			effects:        "0 to 1",
		},
		{
			name:       "repeated",
			redelivery: tasks.AtLeastOnce,
			outcome:    tasks.Done,
			classes:    []string{"unknown", "done"},
			effects:    "1 or more",
		},
		{
			name:       "repeatable and failed",
			redelivery: tasks.AtLeastOnce,
			outcome:    tasks.Failed,
			effects:    "0 or more",
		},
		{
			name:       "cancelled",
			redelivery: tasks.AtLeastOnce,
			outcome:    tasks.Cancelled,
			effects:    "0",
		},
		{
			name:       "found, or created again",
			redelivery: tasks.Reconciled,
			outcome:    tasks.Done,
			classes:    []string{"unknown", "not_found", "done"},
			effects:    "1",
		},
		{
			name:       "may have been created",
			redelivery: tasks.Reconciled,
			outcome:    tasks.Unknown,
			classes:    []string{"unknown"},
			effects:    "0 to 1",
		},
		{
			name:       "not created",
			redelivery: tasks.Reconciled,
			outcome:    tasks.Failed,
			effects:    "0",
		},
		{
			name:       "repeatable and unknown",
			redelivery: tasks.AtLeastOnce,
			outcome:    tasks.Unknown,
			problem:    "it is repeatable and must not end unknown",
			effects:    "0 to 1",
		},
		{
			name:       "tried again after unknown",
			redelivery: tasks.AtMostOnce,
			outcome:    tasks.Done,
			classes:    []string{"unknown", "done"},
			problem:    "attempt 1 was unknown, and another followed",
			effects:    "1",
		},
		{
			name:       "running",
			redelivery: tasks.AtMostOnce,
			state:      tasks.Running,
			problem:    "it has not ended",
			effects:    "0",
		},
		{
			name:       "no outcome",
			redelivery: tasks.AtMostOnce,
			problem:    "it ended without an outcome",
			effects:    "0",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			status := &tasks.Status{State: tasks.Ended, Outcome: tc.outcome}
			if tc.state != "" {
				status.State = tc.state
			}
			for _, class := range tc.classes {
				status.History = append(status.History, tasks.Attempt{Class: class})
			}
			if got := endProblem(tc.redelivery, status); got != tc.problem {
				t.Errorf("endProblem = %q, want %q", got, tc.problem)
			}
			got := allowedEffects(tc.redelivery, tc.outcome, tc.declinedCounts).String()
			if got != tc.effects {
				t.Errorf("%s effects are allowed, want %s", got, tc.effects)
			}
		})
	}
}

func TestEffectRangesAddUp(t *testing.T) {
	t.Parallel()
	if got := (effectRange{1, 1}).plus(effectRange{0, 1}).String(); got != "1 to 2" {
		t.Errorf("one and possibly one more: %s", got)
	}
	if got := (effectRange{1, 1}).plus(effectRange{1, unlimited}).String(); got != "2 or more" {
		t.Errorf("one and any number: %s", got)
	}
}
