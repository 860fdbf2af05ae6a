package operator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// explainOne explains the only task that a question names.
func (f *fixture) explainOne(q operator.Question) operator.Explanation {
	f.t.Helper()
	found, err := f.Explain(f.t.Context(), q)
	if err != nil || len(found) != 1 {
		f.t.Fatalf("%+v explains %d tasks, %v; want one", q, len(found), err)
	}
	return found[0]
}

func whatHappened(e operator.Explanation) string {
	var lines []string
	for _, m := range e.Timeline {
		lines = append(lines, m.What)
	}
	return strings.Join(lines, "\n")
}

// A task is explained by its ID, its key, its recipient and the vendor's ID, and each
// time with all that happened, in order.
func TestATaskIsExplainedByWhateverNamesIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.enqueue(otp("ana@example.com"), tasks.Key("login-1"))
	f.enqueue(otp("eva@example.com"))
	claims := f.take("otp")
	wait := broker.Result{Parked: true, WaitsFor: "danaconnect:rate", Wait: time.Millisecond, Message: "its turn comes"}
	if err := claims[id].End(wait); err != nil {
		t.Fatal(err)
	}
	f.retry("otp", id)
	done := result(record.Done)
	done.VendorIDs = []string{"4711", "c-1"}
	f.endWith("otp", done)
	for _, q := range []operator.Question{
		{ID: id},
		{Type: "danaconnect:otp:send", Key: "login-1"},
		{Subject: "ANA@example.com"},
		{VendorID: "4711"},
		{VendorID: "c-1"},
	} {
		e := f.explainOne(q)
		if e.ID != id || e.Outcome != record.Done {
			t.Errorf("%+v explains %s, %s", q, e.ID, e.Outcome)
		}
		text := whatHappened(e)
		at := 0
		for _, part := range []string{
			"enqueued by a producer, with a key",
			"parked, once in all; the last time for danaconnect:rate",
			"attempt 1: done, HTTP 503 in 120ms, code 05",
			"ended done, code 05: the vendor said so",
		} {
			i := strings.Index(text[at:], part)
			if i < 0 {
				t.Fatalf("the timeline lacks %q at its place:\n%s", part, text)
			}
			at += i
		}
		if !slices.IsSortedFunc(e.Timeline, func(a, b operator.Moment) int { return a.At.Compare(b.At) }) {
			t.Errorf("the times are not in order: %+v", e.Timeline)
		}
	}
}

// A worker knows Redis' time to a round trip: an attempt that it has after the end is told
// before it all the same.
func TestTheEndOfATaskIsToldLast(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.enqueue(otp("ana@example.com"))
	late := result(record.Failed)
	late.Attempt.At = time.Now().Add(time.Second)
	f.endWith("otp", late)
	lines := strings.Split(whatHappened(f.explainOne(operator.Question{ID: id})), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "ended failed") {
		t.Errorf("the last line is %q of %q", last, lines)
	}
}

// The timeline names the API key that asked for a task.
func TestTheTimelineNamesTheKeyOfTheHTTPInterface(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.enqueue(otp("ana@example.com"), func(j *broker.Job) { j.By = "shop" })
	if text := whatHappened(f.explainOne(operator.Question{ID: id})); !strings.Contains(text, "by the API key shop") {
		t.Errorf("the timeline does not name the key:\n%s", text)
	}
}

// The timeline names the schedule of a task, and the ticks that were missed before it, with
// the command that makes up for them.
func TestTheTimelineNamesTheScheduleAndItsMissedTicks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	poll := func(user string) string {
		return f.enqueue(inactivation(user), func(j *broker.Job) { j.Scheduled, j.By = true, record.BySchedule("leavers") })
	}
	before := f.explainOne(operator.Question{ID: poll("u-1")})
	resumed := f.conn().Time(t.Context()).Val().UnixMilli()
	f.conn().HSet(t.Context(), "errand:schedule:{leavers}", "last", 1, "finished", 2, "missed", 7, "resumed", resumed)
	after := f.explainOne(operator.Question{ID: poll("u-2")})
	for text, missed := range map[string]bool{
		whatHappened(before) + before.Do: false,
		whatHappened(after) + after.Do:   true,
	} {
		if !strings.Contains(text, "enqueued by the schedule leavers") ||
			strings.Contains(text, "7 ticks of its schedule were missed before") != missed ||
			strings.Contains(text, "worker schedule run leavers") != missed {
			t.Errorf("missed %v:\n%s", missed, text)
		}
	}
	r, err := f.client.Status(t.Context(), after.ID)
	if err != nil || r.By != "" { // else an API key of the same name could read the result
		t.Errorf("a schedule's task is said to be of the key %q, %v", r.By, err)
	}
}

// retry lets the time of a task come that waits.
func (f *fixture) retry(queue, id string) {
	f.t.Helper()
	rdb := f.conn()
	rdb.HSet(f.t.Context(), record.Key(queue, id), "next", 1)
	rdb.ZRem(f.t.Context(), "asynq:{"+queue+"}:retry", id)
	rdb.HSet(f.t.Context(), "asynq:{"+queue+"}:t:"+id, "state", "pending")
	rdb.LPush(f.t.Context(), "asynq:{"+queue+"}:pending", id)
}

// Each state and outcome has one line that says what to do.
func TestEachEndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for outcome, want := range map[record.Outcome]string{
		record.Done:     "nothing: the vendor has done it",
		record.Declined: "the vendor's final no",
		record.Invalid:  "the producer mends what the message names",
		record.Unknown:  "only if it did not: worker dead-letters replay ID --reason '…' --even-if-it-happened",
		record.Expired:  "and then: worker dead-letters replay ID --reason '…'",
		record.Failed:   "and then: worker dead-letters replay ID --reason '…'",
	} {
		id := f.enqueue(otp(string(outcome) + "@example.com"))
		f.end("otp", outcome)
		got := f.explainOne(operator.Question{ID: id}).Do
		if got = strings.ReplaceAll(got, id, "ID"); !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q", outcome, got, want)
		}
	}
	for name, tc := range map[string]struct {
		options []tasks.Option
		before  func(id string)
		want    string
	}{
		"pending":   {want: "no live worker runs the queue otp: start one"},
		"scheduled": {options: []tasks.Option{tasks.In(time.Hour)}, want: "nothing: it is not due yet; but no live worker"},
		"running":   {before: func(string) { f.take("otp") }, want: "nothing: a worker is calling the vendor (w1)"},
	} {
		id := f.enqueue(otp(name+"@example.com"), tc.options...)
		if tc.before != nil {
			tc.before(id)
		}
		if got := f.explainOne(operator.Question{ID: id}).Do; !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// Wrong questions and unknown tasks are told apart.
func TestAWrongQuestionIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, q := range []operator.Question{
		{},
		{ID: "otp_x", Subject: "a"},
		{Key: "k"},
		{Type: "danaconnect:otp:send"},
		{Type: "danaconnect:otp:sned", Key: "k"},
	} {
		_, err := f.Explain(t.Context(), q)
		if _, usage := errors.AsType[*operator.UsageError](err); !usage {
			t.Errorf("%+v: %v, want a usage error", q, err)
		}
	}
	for _, q := range []operator.Question{
		{ID: "otp_aaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{ID: "nonsense"},
		{Subject: "nobody@example.com"},
		{VendorID: "1"},
		{Type: "danaconnect:otp:send", Key: "k"},
	} {
		_, err := f.Explain(t.Context(), q)
		if !errors.Is(err, record.ErrNotFound) && !errors.Is(err, record.ErrBadID) {
			t.Errorf("%+v: %v, want no such task", q, err)
		}
	}
}

// Each filter selects what it says, the newest first, and a wrong one is refused.
func TestTasksAreListedByFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	dead := f.enqueue(otp("ana@example.com"))
	f.end("otp", record.Failed)
	done := f.enqueue(contact("eva", ""))
	f.end("dinero", record.Done)
	pending := f.enqueue(otp("ana@example.com"), tasks.Key("login-2"))
	later := f.enqueue(inactivation("u1"), tasks.In(time.Hour))
	for name, tc := range map[string]struct {
		filter operator.TaskFilter
		want   []string
	}{
		"all":     {operator.TaskFilter{}, []string{dead, done, pending, later}},
		"type":    {operator.TaskFilter{Type: "danaconnect:otp:send"}, []string{dead, pending}},
		"queue":   {operator.TaskFilter{Queue: "anna"}, []string{later}},
		"state":   {operator.TaskFilter{State: record.Scheduled}, []string{later}},
		"outcome": {operator.TaskFilter{Outcome: record.Failed}, []string{dead}},
		"since":   {operator.TaskFilter{Since: time.Now().Add(time.Hour)}, nil},
		"subject": {operator.TaskFilter{Subject: "ana@example.com", State: record.Pending}, []string{pending}},
		"key":     {operator.TaskFilter{Type: "danaconnect:otp:send", Key: "login-2"}, []string{pending}},
		"no key":  {operator.TaskFilter{Type: "danaconnect:otp:send", Key: "login-3"}, nil},
	} {
		tc.filter.Limit = 10
		found, more, err := f.Tasks(t.Context(), tc.filter)
		var got []string
		for _, r := range found {
			got = append(got, r.ID)
		}
		slices.Sort(got)
		slices.Sort(tc.want)
		if err != nil || more || fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, %v, %v; want %v", name, got, more, err, tc.want)
		}
	}
	found, more, err := f.Tasks(t.Context(), operator.TaskFilter{Limit: 1})
	if err != nil || !more || len(found) != 1 || found[0].ID == dead {
		t.Errorf("with a limit: %v, %v, %v; want one of the newest", found, more, err)
	}
	for _, wrong := range []operator.TaskFilter{
		{Limit: 0},
		{Limit: 10_001},
		{Limit: 1, Type: "x"},
		{Limit: 1, State: "dead"},
		{Limit: 1, Outcome: "ok"},
		{Limit: 1, Queue: "opt"},
		{Limit: 1, Key: "k"},
		{Limit: 1, Outcome: record.Done, State: record.Pending},
	} {
		_, _, err := f.Tasks(t.Context(), wrong)
		if _, usage := errors.AsType[*operator.UsageError](err); !usage {
			t.Errorf("%+v: %v, want a usage error", wrong, err)
		}
	}
}
