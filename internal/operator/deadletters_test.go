package operator_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// why is the reason of the tests' replays.
const why = "the vendor is back"

// replay runs an order and returns what became of each dead letter.
func (f *fixture) replay(order operator.ReplayOrder) (map[string]operator.Replayed, operator.ReplayCount, error) {
	if order.Reason == "" {
		order.Reason = why
	}
	all := map[string]operator.Replayed{}
	count, err := f.Replay(f.t.Context(), order, func(r operator.Replayed) error {
		all[r.ID] = r
		return nil
	})
	return all, count, err
}

// A replay is a new task with the payload and the key of the old one. Each names the
// other, and both ends are true.
func TestAReplayIsANewTask(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := f.enqueue(otp("ana@example.com"), tasks.Key("login-1"))
	f.end("otp", record.Failed)
	done, count, err := f.replay(operator.ReplayOrder{IDs: []string{old}})
	if err != nil || count.Replayed != 1 {
		t.Fatalf("%+v, %v", count, err)
	}
	replay := done[old].Replay
	f.check("otp")
	claim := f.take("otp")[replay]
	if claim == nil {
		t.Fatalf("%s does not run", replay)
	}
	if err := claim.End(result(record.Done)); err != nil {
		t.Fatal(err)
	}
	if e := f.explainOne(operator.Question{ID: old}); e.Outcome != record.Failed || e.Replay != replay {
		t.Errorf("the old one: %+v", e)
	}
	e := f.explainOne(operator.Question{Type: "danaconnect:otp:send", Key: "login-1"})
	if e.ID != replay || e.Outcome != record.Done || e.ReplayOf != old || !strings.Contains(whatHappened(e), old) {
		t.Errorf("the key leads to %+v", e)
	}
	f.check("otp")
	var lines []string
	for _, a := range f.actions() {
		if a.Who == "" || a.At.IsZero() || a.Reason != why {
			t.Errorf("the audit has %+v", a)
		}
		lines = append(lines, a.Verb+" "+a.Target+": "+a.Result)
	}
	want := []string{"replay " + old + ": begun", "replay " + old + ": 1 replayed"}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("the audit has %q, want %q", lines, want)
	}
}

// What is not replayed says why in one sentence, and nothing changes.
func TestWhatIsNotReplayedSaysWhy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	replayed := f.enqueue(otp("r@example.com"))
	f.end("otp", record.Failed)
	if _, _, err := f.replay(operator.ReplayOrder{IDs: []string{replayed}}); err != nil {
		t.Fatal(err)
	}
	f.end("otp", record.Done)
	unknown := f.enqueue(otp("u@example.com"), tasks.Key("u"))
	f.end("otp", record.Unknown)
	done := f.enqueue(otp("d@example.com"))
	f.end("otp", record.Done)
	trimmed := f.enqueue(otp("t@example.com"))
	half := f.enqueue(otp("h@example.com"))
	taken := f.enqueue(otp("k@example.com"), tasks.Key("k"))
	f.end("otp", record.Failed)
	f.conn().Del(t.Context(), "asynq:{otp}:t:"+trimmed)
	f.conn().ZRem(t.Context(), "asynq:{otp}:archived", trimmed)
	f.conn().HDel(t.Context(), record.Key("otp", half), "once")
	pending := f.enqueue(otp("k@example.com"), tasks.Key("k"))
	for name, tc := range map[string]struct{ id, want string }{
		"replayed before": {replayed, "it was replayed as otp_"},
		"unknown":         {unknown, "it ended unknown and may have happened"},
		"done":            {done, "it ended done and is no dead letter"},
		"pending":         {pending, "it has not ended"},
		"trimmed":         {trimmed, "its payload is no longer kept"},
		"half gone":       {half, "its record is not whole"},
		"key taken":       {taken, "its key belongs to a later task by now: " + pending},
	} {
		before := f.dump()
		all, _, err := f.replay(operator.ReplayOrder{IDs: []string{tc.id}})
		if _, refused := errors.AsType[*operator.RefusedError](err); !refused || !strings.HasPrefix(all[tc.id].Refused, tc.want) {
			t.Errorf("%s: %q, %v; want %q", name, all[tc.id].Refused, err, tc.want)
		}
		after := f.dump()
		delete(before, record.ActionsKey)
		delete(after, record.ActionsKey)
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%s: something has changed", name)
		}
	}
	for _, id := range []string{"otp_aaaaaaaaaaaaaaaaaaaaaaaaaa", "nonsense"} {
		if _, _, err := f.replay(operator.ReplayOrder{IDs: []string{id}}); !errors.Is(err, record.ErrNotFound) &&
			!errors.Is(err, record.ErrBadID) {
			t.Errorf("%s: %v, want no such task", id, err)
		}
	}
}

// A task that may have happened is replayed on the operator's word only. It takes its key
// over, and a create is looked up before it runs.
func TestAnUnknownIsReplayedOnTheOperatorsWord(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	passcode := f.enqueue(otp("u@example.com"), tasks.Key("u"))
	f.end("otp", record.Unknown)
	create := f.enqueue(contact("eva", "ref-1"))
	f.end("dinero", record.Unknown)
	all, count, err := f.replay(operator.ReplayOrder{IDs: []string{passcode, create}, EvenIfItHappened: true})
	if err != nil || count.Replayed != 2 {
		t.Fatalf("%+v, %v", count, err)
	}
	f.check("otp", "dinero")
	if c := f.take("dinero")[all[create].Replay]; c == nil || !c.InDoubt {
		t.Errorf("the create is not looked up first: %+v", c)
	}
	if e := f.explainOne(operator.Question{Type: "danaconnect:otp:send", Key: "u"}); e.ID != all[passcode].Replay {
		t.Errorf("the key leads to %s, want the replay", e.ID)
	}
	if again := f.enqueue(otp("u@example.com"), tasks.Key("u")); again != all[passcode].Replay {
		t.Errorf("enqueued as %s although the key is the replay's", again)
	}
}

// A forced login that died before its user was inactivated stays overtaken when it is
// replayed.
func TestAReplayKeepsItsPlaceAmongTheIntents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	opening := f.enqueue(anna.UserForceHash{UserID: "u1", UserName: "U"})
	f.end("anna", record.Failed)
	f.enqueue(inactivation("u1"))
	f.end("anna", record.Done)
	all, _, err := f.replay(operator.ReplayOrder{IDs: []string{opening}})
	if err != nil {
		t.Fatal(err)
	}
	if c := f.take("anna")[all[opening].Replay]; c == nil || c.Verdict != "superseded" {
		t.Errorf("the replay is claimed as %+v, want superseded", c)
	}
}

// A dry run tells what would be replayed and changes nothing; a wrong order is refused
// before anything is read.
func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 3 {
		f.enqueue(otp("a@example.com"))
	}
	f.end("otp", record.Failed)
	before := f.dump()
	count, err := f.Replay(t.Context(), operator.ReplayOrder{All: true, DryRun: true}, func(operator.Replayed) error { return nil })
	if err != nil || count.Replayed != 3 {
		t.Errorf("%+v, %v", count, err)
	}
	if fmt.Sprint(before) != fmt.Sprint(f.dump()) {
		t.Error("a dry run has changed something")
	}
	for _, wrong := range []operator.ReplayOrder{
		{},
		{All: true},
		{All: true, Reason: " "},
		{All: true, Reason: why, IDs: []string{"otp_x"}},
		{Reason: why, IDs: []string{"otp_x"}, Filter: operator.LetterFilter{Queue: "otp"}},
		{Reason: why, Filter: operator.LetterFilter{Queue: "opt"}},
		{Reason: why, Filter: operator.LetterFilter{Type: "x"}},
		{Reason: why, Filter: operator.LetterFilter{Outcome: record.Done}},
		{Reason: why, Filter: operator.LetterFilter{Since: time.Now(), Until: time.Now().Add(-time.Hour)}},
	} {
		_, err := f.Replay(t.Context(), wrong, nil)
		if _, usage := errors.AsType[*operator.UsageError](err); !usage {
			t.Errorf("%+v: %v, want a usage error", wrong, err)
		}
	}
	if fmt.Sprint(before) != fmt.Sprint(f.dump()) {
		t.Error("a refused order has changed something")
	}
}

// 5,000 dead letters of five kinds are replayed by filter, under a rate, by a command that
// is killed in the middle and run again, by two at once in the end: each once, and no
// other.
func TestEachDeadLetterIsReplayedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const each = 1000
	var group sync.WaitGroup
	kinds := []struct {
		payload func(i int) tasks.Payload
		queue   string
		outcome record.Outcome
	}{
		{func(i int) tasks.Payload { return otp(fmt.Sprintf("f%d@example.com", i)) }, "otp", record.Failed},
		{func(i int) tasks.Payload { return otp(fmt.Sprintf("u%d@example.com", i)) }, "otp", record.Unknown},
		{func(i int) tasks.Payload { return inactivation(fmt.Sprint("u", i)) }, "anna", record.Failed},
		{func(i int) tasks.Payload { return contact(fmt.Sprint("i", i), "") }, "dinero", record.Invalid},
		{func(i int) tasks.Payload { return contact(fmt.Sprint("e", i), "") }, "dinero", record.Expired},
	}
	for _, k := range kinds {
		for n := range 10 {
			group.Go(func() {
				for i := range each / 10 {
					if _, err := f.client.EnqueuePayload(t.Context(), k.payload(n*each/10+i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		f.end(k.queue, k.outcome)
	}
	dead := f.letters(operator.LetterFilter{})
	if len(dead) != 5*each {
		t.Fatalf("%d dead letters, want %d", len(dead), 5*each)
	}
	filter := operator.LetterFilter{Outcome: record.Failed}

	killed, kill := context.WithCancel(t.Context())
	reported, began := 0, time.Now()
	rate := settings.Rate{N: 2000, Per: time.Second}
	_, err := f.Replay(killed, operator.ReplayOrder{Filter: filter, Reason: why, Rate: rate}, func(operator.Replayed) error {
		if reported++; reported == each/2 {
			kill()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || reported != each/2 {
		t.Fatalf("killed after %d, %v", reported, err)
	}
	if took, least := time.Since(began), time.Duration(each/2-1)*time.Second/2000; took < least {
		t.Errorf("%d replayed in %s, faster than the rate", reported, took)
	}
	var counts [2]operator.ReplayCount
	for i := range counts {
		group.Go(func() {
			var err error
			counts[i], err = f.open().Replay(t.Context(), operator.ReplayOrder{Filter: filter, Reason: why},
				func(operator.Replayed) error { return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := counts[0].Replayed + counts[1].Replayed; n != 2*each-each/2 {
		t.Errorf("%+v: %d replayed in the second run, want %d", counts, n, 2*each-each/2)
	}
	f.wantReplayedOnce(filter, 2*each)
	f.check("otp", "anna", "dinero")
}

// letters are the dead letters that a filter selects.
func (f *fixture) letters(filter operator.LetterFilter) []operator.DeadLetter {
	f.t.Helper()
	var all []operator.DeadLetter
	err := f.EachDeadLetter(f.t.Context(), filter, func(l operator.DeadLetter) error {
		all = append(all, l)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// wantReplayedOnce checks that exactly the dead letters of a filter have one replay each,
// which is about to run.
func (f *fixture) wantReplayedOnce(filter operator.LetterFilter, n int) {
	f.t.Helper()
	replays := map[string]bool{}
	for _, l := range f.letters(operator.LetterFilter{}) {
		if wanted := l.Outcome == filter.Outcome; wanted != (l.Replay != "") {
			f.t.Errorf("%s ended %s, and its replay is %q", l.ID, l.Outcome, l.Replay)
		}
		if l.Replay != "" {
			replays[l.Replay] = true
		}
	}
	running := 0
	for _, queue := range []string{"otp", "anna", "dinero"} {
		for id := range f.take(queue) {
			running++
			if !replays[id] {
				f.t.Errorf("%s runs and replays nothing", id)
			}
		}
	}
	if len(replays) != n || running != n {
		f.t.Errorf("%d replays, of which %d run; want %d", len(replays), running, n)
	}
}

// 100,000 dead letters are read in memory that does not grow with them.
func TestManyDeadLettersAreReadInFlatMemory(t *testing.T) {
	f := newFixture(t)
	rdb := f.conn()
	const n = 100_000
	for i := 0; i < n; i += 1000 {
		_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for j := range 1000 {
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: "errand:{otp}:dead", Values: []any{
					"id", fmt.Sprint("otp_x", i+j), "type", "danaconnect:otp:send", "outcome", "failed",
					"code", "05", "message", strings.Repeat("m", 100), "attempts", 1,
				}})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, read := heap(), uint64(0), 0
	err := f.EachDeadLetter(t.Context(), operator.LetterFilter{}, func(operator.DeadLetter) error {
		if read++; read%20_000 == 0 {
			most = max(most, heap())
		}
		return nil
	})
	if err != nil || read != n {
		t.Fatalf("read %d, %v", read, err)
	}
	if most > before+8<<20 {
		t.Errorf("the heap grew by %d KiB", (most-before)>>10)
	}
}

// A dead letter whose record is gone is exported, and refused with a sentence when its
// turn comes.
func TestADeadLetterWithoutARecordStopsNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gone := f.enqueue(otp("a@example.com"))
	kept := f.enqueue(otp("b@example.com"))
	f.end("otp", record.Failed)
	f.conn().Del(t.Context(), record.Key("otp", gone), "asynq:{otp}:t:"+gone)
	all, count, err := f.replay(operator.ReplayOrder{All: true})
	if err != nil || count.Replayed != 1 || count.Refused != 1 || all[kept].Replay == "" ||
		!strings.Contains(all[gone].Refused, "no longer kept") {
		t.Errorf("%+v, %+v, %v", all, count, err)
	}
	if n := len(f.letters(operator.LetterFilter{})); n != 2 {
		t.Errorf("%d dead letters exported, want 2", n)
	}
}
