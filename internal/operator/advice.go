package operator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"errand.internal/internal/admission"
	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
)

// missedTicks is how many ticks of its schedule were missed not long before the task.
func (s situation) missedTicks() int {
	if s.Schedule == "" {
		return 0
	}
	return s.tick.MissedBefore(s.Created)
}

// makeUp says how to make up for missed ticks; "" if there are none.
func (s situation) makeUp() string {
	if s.missedTicks() == 0 {
		return ""
	}
	return "; for what must not be left out of the missed ticks: worker schedule run " + s.Schedule
}

// wrongClocks names the workers whose clocks are wrong; "" if there are none.
func (s situation) wrongClocks() string {
	text := ""
	for _, owner := range slices.Sorted(maps.Keys(s.clocks)) {
		text += "; the clock of worker " + owner + " is wrong: " +
			redisguard.SkewText(s.clocks[owner], "the worker's") + ", and worker doctor says what to do"
	}
	return text
}

// do is one line that says what to do now.
func (s situation) do() string {
	switch s.State {
	case record.Ended:
		return s.doAfterTheEnd()
	case record.Running:
		return "nothing: a worker is calling the vendor (" + s.Owner + ")"
	case record.Scheduled:
		return "nothing: it is not due yet" + s.unlessStuck()
	case record.Retrying:
		return "nothing: it is tried again by itself until its time is up" + s.unlessStuck()
	case record.Parked:
		return s.doWhileParked()
	}
	if stuck := s.stuck(); stuck != "" {
		return stuck
	}
	return fmt.Sprintf("nothing: it is about to run; %d tasks wait in its queue", s.waiting)
}

// stuck says what to do if the task's queue does not move; "" if it does.
func (s situation) stuck() string {
	switch {
	case s.refuses != "":
		return "Redis takes no writes, so nothing starts: " + s.refuses + "; worker doctor says what to do"
	case s.paused != "":
		return s.paused + ": " + s.resume + " --reason '…'"
	case s.workers == 0:
		return "no live worker runs the queue " + s.Queue +
			": start one with its vendor's credentials; worker doctor says more"
	}
	return ""
}

func (s situation) unlessStuck() string {
	if stuck := s.stuck(); stuck != "" {
		return "; but " + stuck
	}
	return ""
}

func (s situation) doWhileParked() string {
	if stuck := s.stuck(); stuck != "" {
		return stuck
	}
	if strings.HasSuffix(s.WaitedFor, admission.PauseSuffix) {
		return "nothing: " + s.WaitedFor + " has ended, and it runs again within a minute"
	}
	name, of, _ := strings.Cut(s.WaitedFor, ":")
	switch {
	case of == "rate" || of == "concurrency":
		return "nothing: it waits for its turn within " + s.WaitedFor + ", and costs no attempt"
	case of == "retries":
		return "nothing: calls of " + name + " fail, and it is tried again as they get better; worker doctor says why"
	case of == "breaker":
		return "the calls of " + name + " are stopped, and one tries again by itself: worker doctor says why; once the " +
			"vendor has mended it: worker credentials clear " + name
	case s.waitedFor() == s.WaitedFor && s.WaitedFor != "worker":
		return "it waits for " + s.WaitedFor + ", and costs no attempt: worker doctor says what to mend; once the account " +
			"is unlocked at the vendor: worker credentials clear " + s.WaitedFor
	}
	return "it waits for " + s.waitedFor() + ", and costs no attempt: worker doctor says what to mend"
}

func (s situation) doAfterTheEnd() string {
	if s.Replay != "" {
		return "it was replayed: worker explain " + s.Replay
	}
	replay := "worker dead-letters replay " + s.ID + " --reason '…'"
	switch s.Outcome {
	case record.Done:
		return "nothing: the vendor has done it"
	case record.Declined:
		return "nothing here: it is the vendor's final no, or a guard's; other data are another task"
	case record.Superseded:
		return "nothing: a later task of the same subject made it wrong to run"
	case record.Cancelled:
		return "nothing: somebody took it back; worker audit says who"
	case record.Invalid:
		return "the producer mends what the message names and enqueues it again; if the fault was in the settings: " + replay
	case record.Unknown:
		return "ask the vendor whether it happened; only if it did not: " + replay + " --even-if-it-happened"
	}
	return "mend the cause, and then: " + replay
}
