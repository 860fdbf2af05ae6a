package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// maxProblems is the number of problems that a failed check prints.
const maxProblems = 20

// Report sums up what Check read.
type Report struct {
	Outcomes map[tasks.Outcome]int
	// Calls is the number of entries in all histories.
	Calls int
	// Unknown are the IDs of the tasks that ended unknown. Each needs a reason.
	Unknown []string
}

// Check asserts that each of the tasks ended with exactly one outcome, and that the
// vendors counted as many effects as the outcomes allow:
//
//	outcome      not repeatable (at most once, reconciled)   repeatable (at least once)
//	done         one                                         one or more
//	unknown      none or one                                 must not happen
//	declined     none; none or one if a refusal counts       any
//	failed       none                                        any
//	any other    none                                        none
//
// The result of a done task must satisfy CheckResult of its kind. Tasks with the
// same subject are checked together. The fixture must have enqueued the tasks.
func (f *Fixture) Check(ids []string) Report {
	f.tb.Helper()
	report, problems := f.check(ids)
	for _, problem := range problems[:min(len(problems), maxProblems)] {
		f.tb.Error(problem)
	}
	if more := len(problems) - maxProblems; more > 0 {
		f.tb.Errorf("... and %d more", more)
	}
	return report
}

// CheckDone is Check and asserts that every task is done.
func (f *Fixture) CheckDone(ids []string) Report {
	f.tb.Helper()
	report := f.Check(ids)
	if done := report.Outcomes[tasks.Done]; done != len(ids) {
		f.tb.Errorf("%d of %d tasks are done: %v", done, len(ids), report.Outcomes)
		isDone := f.matching(f.tb.Context(), ids, func(status *tasks.Status) bool {
			return status.Outcome == tasks.Done
		})
		f.tb.Logf("not done:\n%s", f.describeAll(without(ids, isDone)))
	}
	return report
}

// CheckQueues asserts that the record of every task agrees with asynq's queue. Tasks
// may be under way.
func (f *Fixture) CheckQueues() {
	f.tb.Helper()
	if f.tb.Failed() {
		return // there may be no Redis to ask
	}
	ctx := context.WithoutCancel(f.tb.Context())
	queues, err := f.Conn().SMembers(ctx, "asynq:queues").Result()
	if err != nil {
		f.tb.Fatalf("read the names of the queues: %v", err)
	}
	for _, id := range f.Enqueued() { // Redis may have lost the names
		if name, err := record.QueueOf(id); err == nil && !slices.Contains(queues, name) {
			queues = append(queues, name)
		}
	}
	for _, name := range queues {
		problems, err := broker.Check(ctx, f.Conn(), name)
		if err != nil {
			f.tb.Fatalf("check the queue %s: %v", name, err)
		}
		for _, problem := range problems[:min(len(problems), maxProblems)] {
			f.tb.Errorf("record and queue disagree: %s", problem)
		}
		if more := len(problems) - maxProblems; more > 0 {
			f.tb.Errorf("... and %d more", more)
		}
	}
}

// checker collects what check finds.
type checker struct {
	fixture  *Fixture
	report   Report
	problems []string
	allowed  map[subject]effectRange
	seen     map[string]bool
}

// subject is what an operation has its effect on.
type subject struct {
	kind *Kind
	name string
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (f *Fixture) check(ids []string) (Report, []string) {
	ctx := f.tb.Context()
	statuses := make([]*tasks.Status, len(ids))
	errs := make([]error, len(ids))
	Parallel(len(ids), func(i int) {
		statuses[i], errs[i] = f.Client.Status(ctx, ids[i])
	})
	c := &checker{
		fixture: f,
		report:  Report{Outcomes: map[tasks.Outcome]int{}},
		allowed: map[subject]effectRange{},
		seen:    map[string]bool{},
	}
	for i, id := range ids {
		switch payload := f.payload(id); {
		case c.seen[id]:
			c.problem("%s is listed twice", id)
		case payload == nil:
			c.problem("%s was not enqueued by this fixture", id)
		case errs[i] != nil:
			c.problem("%s: %v", id, errs[i])
		default:
			c.checkTask(id, payload, statuses[i])
		}
		c.seen[id] = true
	}
	c.checkEffects()
	return c.report, c.problems
}

func (c *checker) checkTask(id string, payload tasks.Payload, status *tasks.Status) {
	c.report.Outcomes[status.Outcome]++
	c.report.Calls += status.Attempts
	if status.Outcome == tasks.Unknown {
		c.report.Unknown = append(c.report.Unknown, id)
	}
	if problem := endProblem(payload.Policy().Redelivery, status); problem != "" {
		c.problem("%s (%s): %s; %s", id, payload.Type(), problem, describe(status))
	}
	kind := c.fixture.KindOf(id)
	if kind == nil {
		return
	}
	if !kind.Uncounted {
		on := subject{kind, kind.Subject(id, payload)}
		allowed := allowedEffects(payload.Policy().Redelivery, status.Outcome, kind.DeclinedCounts)
		c.allowed[on] = c.allowed[on].plus(allowed)
	}
	if kind.CheckResult != nil && status.Outcome == tasks.Done {
		if err := kind.CheckResult(id, payload, status); err != nil {
			c.problem("%s is done, but %v", id, err)
		}
	}
}

// checkEffects compares the vendors' counts with the effects that the outcomes
// allow.
func (c *checker) checkEffects() {
	for on, allowed := range c.allowed {
		n := on.kind.Engine.EffectsOf(on.kind.Op, on.name)
		if n < allowed.min || n > allowed.max {
			c.problem(
				"%s of %s: %d effects at the vendor, the outcomes allow %s",
				on.kind.Op,
				on.name,
				n,
				allowed,
			)
		}
	}
}

// CountedAttempts returns how many attempts of each task count against its budget,
// "" if there is no record.
func (f *Fixture) CountedAttempts(ids []string) []string {
	f.tb.Helper()
	var counted []string
	for chunk := range slices.Chunk(ids, 1000) {
		pipe := f.Conn().Pipeline()
		for _, id := range chunk {
			pipe.HMGet(f.tb.Context(), RecordKey(id), "once", "attempts")
		}
		replies, err := pipe.Exec(f.tb.Context())
		if err != nil {
			f.tb.Fatalf("read the counts of attempts: %v", err)
		}
		for _, reply := range replies {
			fields := reply.(*redis.SliceCmd).Val()
			n, _ := fields[1].(string)
			if n == "" && fields[0] != nil {
				n = "0"
			}
			counted = append(counted, n)
		}
	}
	return counted
}
