package ledger_test

import (
	"errors"
	"testing"
	"time"

	"errand.internal/internal/ledger"
)

// A held key outlives an end that would free it: who asks again asks for the
// same task.
func TestAHeldKeyIsNotFreed(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for _, outcome := range []ledger.Outcome{ledger.Failed, ledger.Invalid, ledger.Expired, ledger.Done} {
		keyed := sample()
		keyed.Key = "k-" + string(outcome)
		first := create(t, s, keyed)
		r := ended(outcome)
		r.HoldKey = true
		if err := s.Finish(t.Context(), first.ID, begin(t, s, claim(first.ID), ledger.Go), r); err != nil {
			t.Fatal(err)
		}
		if got := create(t, s, keyed); !got.Duplicate || got.ID != first.ID || got.Outcome != outcome {
			t.Errorf("after %s: %+v", outcome, got)
		}
	}
}

func TestTooLateToCreate(t *testing.T) {
	t.Parallel()
	s, rdb := newStore(t)
	now, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	n := sample()
	n.Key, n.By = "k", now.Add(time.Minute)
	first := create(t, s, n)
	n.By = now.Add(-time.Millisecond)
	if got := create(t, s, n); got.ID != first.ID || !got.Duplicate {
		t.Errorf("what was created in time: %+v", got)
	}
	n.Key = "other"
	if got, err := s.Create(t.Context(), n); !errors.Is(err, ledger.ErrLate) {
		t.Errorf("late: %+v, %v", got, err)
	}
	if left := rdb.Keys(t.Context(), "errand:{otp}:task:*").Val(); len(left) != 1 {
		t.Errorf("records: %v", left)
	}
}
