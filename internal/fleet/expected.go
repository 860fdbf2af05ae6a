package fleet

import (
	"fmt"
	"math"
	"slices"

	"errand.internal/tasks"
)

// effectRange is how many effects the vendor may have counted.
type effectRange struct {
	min, max int
}

const unlimited = math.MaxInt

func (r effectRange) plus(other effectRange) effectRange {
	sum := effectRange{r.min + other.min, unlimited}
	if r.max != unlimited && other.max != unlimited {
		sum.max = r.max + other.max
	}
	return sum
}

// String implements fmt.Stringer.
func (r effectRange) String() string {
	switch r.max {
	case r.min:
		return fmt.Sprint(r.min)
	case unlimited:
		return fmt.Sprintf("%d or more", r.min)
	}
	return fmt.Sprintf("%d to %d", r.min, r.max)
}

var outcomes = []tasks.Outcome{
	tasks.Done,
	tasks.Declined,
	tasks.Superseded,
	tasks.Cancelled,
	tasks.Invalid,
	tasks.Unknown,
	tasks.Expired,
	tasks.Failed,
}

// endProblem returns what is wrong with the end of a task, "" if nothing is.
func endProblem(redelivery tasks.Redelivery, status *tasks.Status) string {
	switch {
	case status.State != tasks.Ended:
		return "it has not ended"
	case !slices.Contains(outcomes, status.Outcome):
		return "it ended without an outcome"
	case status.Outcome == tasks.Unknown && redelivery == tasks.AtLeastOnce:
		return "it is repeatable and must not end unknown"
	case redelivery != tasks.AtMostOnce || len(status.History) == 0:
		return ""
	}
	// An attempt that may have had its effect must be the last one.
	for i, attempt := range status.History[:len(status.History)-1] {
		switch attempt.Class {
		case "done", "unknown", "declined":
			return fmt.Sprintf("attempt %d was %s, and another followed", i+1, attempt.Class)
		}
	}
	return ""
}

// allowedEffects returns how many effects an outcome allows. declinedCounts says
// that a declined task may have had its effect.
func allowedEffects(
	redelivery tasks.Redelivery,
	outcome tasks.Outcome,
	declinedCounts bool,
) effectRange {
	repeatable := redelivery == tasks.AtLeastOnce
	switch outcome {
	case tasks.Done:
		if repeatable {
			return effectRange{1, unlimited}
		}
		return effectRange{1, 1}
	case tasks.Unknown:
		return effectRange{0, 1}
	case tasks.Declined, tasks.Failed:
		switch {
		case repeatable:
			return effectRange{0, unlimited}
		case outcome == tasks.Declined && declinedCounts:
			return effectRange{0, 1}
		}
	}
	return effectRange{}
}
