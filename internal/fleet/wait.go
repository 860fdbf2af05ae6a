package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"errand.internal/tasks"
)

// Wait waits until all tasks have ended. If that takes longer than limit, it fails
// the test and names those that have not.
func (f *Fixture) Wait(limit time.Duration, ids []string) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(f.tb.Context(), limit)
	defer cancel()
	errs := make([]error, len(ids))
	Parallel(len(ids), func(i int) {
		if ctx.Err() != nil {
			errs[i] = ctx.Err()
			return
		}
		_, errs[i] = f.Client.Wait(ctx, ids[i])
	})
	for _, err := range errs {
		if err != nil {
			f.tb.Fatalf("not all tasks have ended within %v:\n%s", limit, f.unended(ids))
		}
	}
}

// WaitState waits until every task is in the state. If that takes longer than limit,
// it fails the test and names those that are not.
func (f *Fixture) WaitState(limit time.Duration, state tasks.State, ids []string) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(f.tb.Context(), limit)
	defer cancel()
	inState := func(status *tasks.Status) bool {
		return status.State == state
	}
	left := ids
	for {
		if left = without(left, f.matching(ctx, left, inState)); len(left) == 0 {
			return
		}
		if !pause(ctx) {
			f.tb.Fatalf(
				"after %v, %d of %d tasks were never %s:\n%s",
				limit,
				len(left),
				len(ids),
				state,
				f.describeAll(left),
			)
		}
	}
}

// describe describes a task in one line.
func describe(status *tasks.Status) string {
	var b strings.Builder
	fmt.Fprintf(
		&b,
		"%s %s %q, %d attempts",
		status.State,
		status.Outcome,
		status.Message,
		status.Attempts,
	)
	for _, a := range status.History {
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

// matching reports for each task whether ok holds for its status.
func (f *Fixture) matching(
	ctx context.Context,
	ids []string,
	ok func(*tasks.Status) bool,
) []bool {
	matched := make([]bool, len(ids))
	Parallel(len(ids), func(i int) {
		status, err := f.Client.Status(ctx, ids[i])
		matched[i] = err == nil && ok(status)
	})
	return matched
}

// without returns ids without the marked ones.
func without(ids []string, marked []bool) (left []string) {
	for i, id := range ids {
		if !marked[i] {
			left = append(left, id)
		}
	}
	return left
}

// unended describes those of the tasks that have not ended.
func (f *Fixture) unended(ids []string) string {
	ctx := context.WithoutCancel(f.tb.Context())
	return f.describeAll(without(ids, f.matching(ctx, ids, func(status *tasks.Status) bool {
		return status.State == tasks.Ended
	})))
}

// describeAll describes the first of the tasks and counts all by their state.
func (f *Fixture) describeAll(ids []string) string {
	ctx := context.WithoutCancel(f.tb.Context())
	var b strings.Builder
	states := map[string]int{}
	for i, id := range ids {
		status, err := f.Client.Status(ctx, id)
		if err != nil {
			states["unreadable"]++
			continue
		}
		states[string(status.State)]++
		if i < maxProblems {
			fmt.Fprintf(&b, "  %s %s\n", id, describe(status))
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(&b, "  %s: %d\n", state, states[state])
	}
	return b.String()
}
