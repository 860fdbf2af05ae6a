package faults

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/fleet"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
	"errand.internal/internal/webtest"
	"errand.internal/tasks"
)

// scheduledTask is the record of a scheduled task.
type scheduledTask struct {
	id      string
	slot    int64
	subject string
	created time.Time
	ended   time.Time
	outcome tasks.Outcome
}

// place is a task's place in the schedule.
type place struct {
	slot    int64
	subject string
}

// scheduledTasks reads the records of all scheduled tasks. Tick and subject of a task
// follow from its key, schedule/<name>/<slot>/<subject>, of which Redis has a digest
// that is salted with a value of the same Redis.
func (h *scheduleHarness) scheduledTasks() []scheduledTask {
	h.t.Helper()
	ctx := h.t.Context()
	prefix := record.Prefix(h.Reads.Queue())
	salt := h.Conn().Get(ctx, prefix+"salt").Val()
	places := map[string]place{} // by the digest of the key
	for slot := h.first - 60; slot <= h.lastTick()+60; slot++ {
		for _, subject := range h.subjects {
			key := fmt.Sprintf("schedule/%s/%d/%s", scheduleName, slot, subject)
			places[record.Digest(salt, "key", h.Reads.Type, key)] = place{slot, subject}
		}
	}
	names := h.Conn().Keys(ctx, prefix+"task:*").Val()
	replies, err := h.Conn().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range names {
			pipe.HMGet(ctx, name, "once", "asked", "ended", "outcome")
		}
		return nil
	})
	if err != nil {
		h.t.Fatalf("read the scheduled tasks: %v", err)
	}
	var all []scheduledTask
	for i, name := range names {
		fields := replies[i].(*redis.SliceCmd).Val()
		field := func(n int) string {
			text, _ := fields[n].(string)
			return text
		}
		const flags, key = 3, 4
		once := strings.Fields(field(0))
		if len(once) <= key || !strings.Contains(once[flags], "s") {
			continue // no schedule enqueued it
		}
		at, known := places[once[key]]
		if !known {
			h.t.Errorf("%s belongs to no tick and subject", name)
		}
		all = append(all, scheduledTask{
			id:      strings.TrimPrefix(name, prefix+"task:"),
			slot:    at.slot,
			subject: at.subject,
			created: record.DecodeAsked(field(1)).Created,
			ended:   unixMillis(field(2)),
			outcome: tasks.Outcome(field(3)),
		})
	}
	return all
}

// unixMillis parses a time, and returns the zero time for an empty text.
func unixMillis(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// firstSlot is the first slot of which there is a task.
func (h *scheduleHarness) firstSlot() int64 {
	first := h.first
	for _, task := range h.scheduledTasks() {
		first = min(first, task.slot)
	}
	return first
}

// checkTicks waits until every scheduled task has ended, and asserts that each tick
// and subject has one task and that none was enqueued late.
func (h *scheduleHarness) checkTicks(total int64) {
	h.t.Helper()
	last := h.lastTick()
	var unended []scheduledTask
	if !testwait.Poll(waitLimit, func() bool {
		unended = slices.DeleteFunc(h.scheduledTasks(), func(task scheduledTask) bool {
			return !task.ended.IsZero()
		})
		return len(unended) == 0
	}) {
		h.t.Fatalf("%d scheduled tasks do not end: %+v", len(unended), unended)
	}
	found := h.scheduledTasks()
	first := h.firstSlot()
	ticks := last - first + 1
	enqueued, skipped := h.checkPlaces(found, first, last)
	outcomes := map[tasks.Outcome]int{}
	calls := 0
	var lateness time.Duration
	for _, task := range found {
		outcomes[task.outcome]++
		calls += h.status(task.id).Attempts
		if task.slot <= last {
			lateness = max(lateness, task.created.Sub(time.Unix(task.slot, 0)))
		}
	}
	h.t.Logf(
		"%d ticks of %d subjects: %d tasks enqueued once, %d skipped because the one before was active; "+
			"at most %v after the tick; outcomes %v; %d calls",
		ticks,
		subjectCount,
		enqueued,
		skipped,
		lateness,
		outcomes,
		h.Reads.Calls(),
	)
	if ticks < total {
		h.t.Errorf("there were %d ticks, want %d", ticks, total)
	}
	if lateness > latenessLimit {
		h.t.Errorf("a task was enqueued %v after its tick", lateness)
	}
	for outcome, n := range outcomes {
		if outcome != tasks.Done && outcome != tasks.Expired { // a task expires after a second
			h.t.Errorf("%d scheduled tasks ended %s", n, outcome)
		}
	}
	if n := h.Reads.Calls() - warmUpReads; n < calls || n > calls && h.separate {
		h.t.Errorf("the vendor had %d calls, the records have %d", n, calls)
	}
}

// checkPlaces asserts that each tick and subject has one task, or none because the
// subject's task before was active.
func (h *scheduleHarness) checkPlaces(
	found []scheduledTask,
	first, last int64,
) (enqueued, skipped int) {
	h.t.Helper()
	byPlace := map[place][]scheduledTask{}
	bySubject := map[string][]scheduledTask{}
	for _, task := range found {
		at := place{task.slot, task.subject}
		byPlace[at] = append(byPlace[at], task)
		bySubject[task.subject] = append(bySubject[task.subject], task)
	}
	for slot := first; slot <= last; slot++ {
		for i, subject := range h.subjects {
			switch here := byPlace[place{slot, subject}]; {
			case len(here) == 1:
				enqueued++
			case len(here) == 0 && wasActive(bySubject[subject], slot):
				skipped++
			default:
				h.t.Errorf(
					"the task of subject %d at tick %d was enqueued %d times: %+v",
					i,
					slot-first,
					len(here),
					here,
				)
			}
		}
	}
	return enqueued, skipped
}

// wasActive reports whether a subject had an active task when its next one was due.
func wasActive(scheduled []scheduledTask, slot int64) bool {
	due := time.Unix(slot, 0)
	return slices.ContainsFunc(scheduled, func(task scheduledTask) bool {
		return task.slot < slot &&
			task.created.Before(due.Add(latenessLimit)) &&
			task.ended.After(due)
	})
}

// checkTickMetrics compares the ticks that the workers have counted with those that
// were enqueued.
func (h *scheduleHarness) checkTickMetrics() {
	h.t.Helper()
	before := h.lastTick()
	sum := map[string]int{}
	for result, n := range h.ticksOfKilled {
		sum[result] += n
	}
	for _, w := range h.workers {
		for result, n := range h.countedTicks(w) {
			sum[result] += n
		}
	}
	least := int(before-h.firstSlot()) + 1
	most := int(h.lastTick()-h.firstSlot()) + 1
	n := sum["enqueued"] + sum["late"]
	if n < least || n > most || sum["missed"]+sum["failed"] > 0 || fleet.Long() && sum["late"] > 0 {
		h.t.Errorf("the workers have counted %v, and %d to %d ticks were enqueued", sum, least, most)
	}
	h.t.Logf("errand_schedule_ticks_total: %v", sum)
}

var tickRow = regexp.MustCompile(
	`(?m)^errand_schedule_ticks_total\{name="` + scheduleName + `",result="([a-z]+)"\} (\d+)$`,
)

// countedTicks returns the ticks that a worker has counted, by result.
func (h *scheduleHarness) countedTicks(w *workerProcess) map[string]int {
	h.t.Helper()
	res, err := webtest.Client.Get("http://" + w.Admin() + "/metrics")
	if err != nil {
		h.t.Fatalf("read the metrics of %s: %v", w.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatalf("read the metrics of %s: %v", w.Name, err)
	}
	rows := tickRow.FindAllSubmatch(body, -1)
	if len(rows) != 4 {
		h.t.Fatalf("%s counts %d results of ticks", w.Name, len(rows))
	}
	counts := map[string]int{}
	for _, row := range rows {
		counts[string(row[1])], _ = strconv.Atoi(string(row[2]))
	}
	return counts
}
