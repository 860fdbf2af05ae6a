package demo_test

import (
	"errors"
	"testing"

	"errand.internal/internal/demo"
	"errand.internal/tasks"
)

func TestWantOutcome(t *testing.T) {
	t.Parallel()
	declined := &tasks.OutcomeError{ID: "1", Outcome: tasks.Declined}
	broken := errors.New("connection refused")
	tests := []struct {
		name string
		err  error
		want tasks.Outcome
		ok   bool
	}{
		{name: "the wanted outcome", err: declined, want: tasks.Declined, ok: true},
		{name: "another outcome", err: declined, want: tasks.Unknown},
		{name: "done", err: nil, want: tasks.Declined},
		{name: "no outcome", err: broken, want: tasks.Declined},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := demo.WantOutcome(test.err, test.want)
			if (err == nil) != test.ok {
				t.Errorf("err = %v", err)
			}
			if !test.ok && test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}
