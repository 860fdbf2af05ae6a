package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/fleet"
	"errand.internal/internal/schedule"
	"errand.internal/internal/testwait"
)

const (
	// scheduleName is the name of the schedule.
	scheduleName = "reads"
	// subjectCount is how many tasks one tick has.
	subjectCount = 50
	// warmUpReads is how many tasks run before the schedule begins.
	warmUpReads = 20
)

// latenessLimit is how long after its tick a task may be enqueued: in a long run what
// is promised, in a short one what a busy machine may take.
var latenessLimit = fleet.Size(5*time.Second, 2*time.Second)

// Three workers run one schedule with a tick every second. One of them is killed and
// one is frozen, each while it enqueues a tick; the frozen one resumes later with a
// tick that the others have long finished. Each task of each tick is enqueued once
// and in time, and every task ends.
//
// While a subject's task is active, its next one is skipped, and the tasks of a dead
// worker stay active until others have them. So either the workers run nothing else,
// and a skip means that the machine is too slow for 50 tasks a second, or they run
// the tasks as well. Each skip must be explained by the task before.
func TestThreeWorkersShareASchedule(t *testing.T) {
	t.Parallel()
	for _, tc := range fleet.Size(scheduleWorkers[:1], scheduleWorkers) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRand(t)
			h := newScheduleHarness(t, tc.env...)
			total := int64(fleet.Size(14, 60))
			randomBreakpoint := func() breakpoint {
				return breakpoint{n: r.IntN(subjectCount), then: action(r.IntN(2))}
			}

			h.waitTicks(total / 5)
			at := randomBreakpoint()
			killed := h.interruptTick(at, func(w *workerProcess) {
				h.ticksOfKilled = h.countedTicks(w)
				w.Kill()
			})
			t.Logf("%s was killed at %s", killed.Name, at)
			h.workers = slices.DeleteFunc(h.workers, func(w *workerProcess) bool { return w == killed })
			h.waitTicks(total * 2 / 5)
			at = randomBreakpoint()
			frozen := h.interruptTick(at, func(w *workerProcess) { w.Pause() })
			t.Logf("%s was frozen at %s", frozen.Name, at)
			h.waitTicks(total * 7 / 10)
			frozen.Resume()
			h.waitTicks(total)

			h.checkTickMetrics()
			for _, w := range h.workers {
				w.Terminate()
			}
			for _, w := range h.workers {
				h.stopWorker(w)
			}
			h.checkTicks(total)
			h.StopAll()
		})
	}
}

var scheduleWorkers = []struct {
	name string
	env  []string
}{
	{name: "that run nothing else", env: []string{"WORKER_QUEUES=otp=1"}},
	{name: "that run the tasks as well"},
}

// scheduleHarness has three workers that run a schedule of reads, and one besides
// them that only runs the reads.
type scheduleHarness struct {
	*harness
	separate bool     // the three workers do not run the tasks
	subjects []string // each is the number of a page
	first    int64    // slot of the first tick seen
	// ticksOfKilled are the ticks that the killed worker had counted, by result.
	ticksOfKilled map[string]int

	lock       sync.Mutex
	breakpoint *armedBreakpoint
}

func newScheduleHarness(t *testing.T, env ...string) *scheduleHarness {
	t.Helper()
	h := &scheduleHarness{
		harness:  newHarness(t, fleet.Options{}),
		separate: len(env) > 0,
	}
	for range subjectCount {
		h.subjects = append(h.subjects, fmt.Sprint(h.Number()))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "schedules.yaml")
	for path, content := range map[string]string{
		filepath.Join(dir, "pages.txt"): strings.Join(h.subjects, "\n"),
		file: fmt.Sprintf(`schedules:
  - name: %s
    every: 1s
    type: %s
    payload: {organizationId: %s, method: GET, path: contacts, query: {fields: Name}}
    forEach: {query.page: "@pages.txt"}
`, scheduleName, h.Reads.Type, h.Organizations()[0]),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.Start(1)
	h.Wait(waitLimit, h.EnqueueMany(warmUpReads, h.Reads)) // it has its token
	for range 3 {
		w := &workerProcess{proxy: newProxy(t)}
		w.proxy.setTarget(h.Redis.Addr())
		w.proxy.setInterceptor(h.interceptor(w)) // from its first command on
		w.Process = h.startBehind(w.proxy, append([]string{"SCHEDULE_FILE=" + file}, env...)...).Process
		h.workers = append(h.workers, w)
	}
	testwait.Eventually(t, waitLimit, "the first tick", func() bool {
		h.first = h.lastTick()
		return h.first > 0
	})
	return h
}

// lastTick is the slot of the tick that was enqueued last, 0 if there was none.
func (h *scheduleHarness) lastTick() int64 {
	tick, err := schedule.LastTick(h.t.Context(), h.Conn(), scheduleName)
	if err != nil {
		h.t.Errorf("read the last tick: %v", err)
	}
	if tick.Last.IsZero() {
		return 0
	}
	return tick.Last.Unix()
}

// waitTicks waits until n ticks have passed since the first.
func (h *scheduleHarness) waitTicks(n int64) {
	h.t.Helper()
	limit := time.Duration(n)*time.Second + waitLimit
	testwait.Eventually(h.t, limit, fmt.Sprintf("tick %d", n), func() bool {
		return h.lastTick() >= h.first+n
	})
}
