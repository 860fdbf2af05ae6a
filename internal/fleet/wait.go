package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// Wait waits until all tasks have ended. If that takes longer than limit it
// ends the test and says which have not.
func (s *Site) Wait(limit time.Duration, ids []string) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), limit)
	defer cancel()
	errs := make([]error, len(ids))
	each(len(ids), func(i int) {
		if ctx.Err() != nil {
			errs[i] = ctx.Err()
			return
		}
		_, errs[i] = s.Client.Wait(ctx, ids[i])
	})
	for _, err := range errs {
		if err != nil {
			s.tb.Fatalf("not all tasks have ended within %v:\n%s", limit, s.unended(ids))
		}
	}
}

// Until waits until ok holds for every task. If that takes longer than limit it
// ends the test and says for which it does not.
func (s *Site) Until(
	limit time.Duration,
	what string,
	ids []string,
	ok func(*tasks.Status) bool,
) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), limit)
	defer cancel()
	left := ids
	for {
		if left = without(left, s.met(ctx, left, ok)); len(left) == 0 {
			return
		}
		if !pause(ctx) {
			s.tb.Fatalf(
				"within %v %d of %d tasks were not %s:\n%s",
				limit,
				len(left),
				len(ids),
				what,
				s.list(left),
			)
		}
	}
}

// describe tells how a task stands, in one line.
func describe(r *ledger.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %q, %d attempts", r.State, r.Outcome, r.Message, r.Attempts)
	for _, a := range r.History {
		fmt.Fprintf(
			&b,
			"; %s %s after %v %q",
			a.At.Format(time.TimeOnly),
			a.Class,
			a.Took,
			a.Message,
		)
	}
	return b.String()
}

// met tells for which of the tasks ok holds.
func (s *Site) met(
	ctx context.Context,
	ids []string,
	ok func(*tasks.Status) bool,
) []bool {
	met := make([]bool, len(ids))
	each(len(ids), func(i int) {
		status, err := s.Client.Status(ctx, ids[i])
		met[i] = err == nil && ok(status)
	})
	return met
}

// without leaves out the marked ones.
func without(ids []string, marked []bool) (left []string) {
	for i, id := range ids {
		if !marked[i] {
			left = append(left, id)
		}
	}
	return left
}

// unended describes those of the tasks that have not ended.
func (s *Site) unended(ids []string) string {
	ctx := context.WithoutCancel(s.tb.Context())
	return s.list(without(ids, s.met(ctx, ids, func(st *tasks.Status) bool {
		return st.State == ledger.Ended
	})))
}

// list describes some of the tasks, and sums up all.
func (s *Site) list(ids []string) string {
	ctx := context.WithoutCancel(s.tb.Context())
	var b strings.Builder
	states := map[string]int{}
	for i, id := range ids {
		status, err := s.Client.Status(ctx, id)
		if err != nil {
			states["unreadable"]++
			continue
		}
		states[string(status.State)]++
		if i < mostComplaints {
			fmt.Fprintf(&b, "  %s %s\n", id, describe(status.Record))
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(&b, "  %s: %d\n", state, states[state])
	}
	return b.String()
}
