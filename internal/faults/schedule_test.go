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

	"errand.internal/clients/anna/annatest"
	"errand.internal/internal/fleet"
	"errand.internal/internal/schedule"
	"errand.internal/tasks"
)

// pollSubjects is how many polls one tick has.
const pollSubjects = 50

// tickLate is the most that a poll may be enqueued after its tick: what is
// promised, and what a machine that does much else may take.
var tickLate = fleet.Size(5*time.Second, 2*time.Second)

// Three workers run one schedule, every second. One is killed
// and one frozen, each in the middle of a tick that it is enqueueing; the frozen
// one wakes up later and goes on with a tick that others have long finished.
// Each poll of each tick is enqueued once and in time, and every one ends.
//
// While a subject's poll is under way its next one is skipped, and what a worker
// has in hand when it dies is under way until others have it back. So the
// workers either do nothing else, and a skip means that this machine is too slow
// for 50 polls a second, or everything. Each skip must be explained by the poll
// before.
func TestThreeWorkersRunOneSchedule(t *testing.T) {
	t.Parallel()
	for _, tc := range fleet.Size(schedulers[:1], schedulers) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := dice(t)
			r := newRota(t, tc.env...)
			total := int64(fleet.Size(14, 60))

			r.reach(total / 5)
			killed, middle := r.strike(
				stroke{d.IntN(pollSubjects), []step{create, enqueue}[d.IntN(2)], fate(d.IntN(2))},
				func(w *worker) {
					r.lost = r.ticks(w)
					w.Kill()
				},
			)
			t.Logf("%s was killed at %s", killed.Name, middle)
			r.workers = slices.DeleteFunc(r.workers, func(w *worker) bool { return w == killed })
			r.reach(total * 2 / 5)
			frozen, middle := r.strike(
				stroke{d.IntN(pollSubjects), []step{create, enqueue}[d.IntN(2)], fate(d.IntN(2))},
				func(w *worker) { w.Pause() },
			)
			t.Logf("%s was frozen at %s", frozen.Name, middle)
			r.reach(total * 7 / 10)
			frozen.Resume()
			r.reach(total)

			r.countTicks()
			for _, w := range r.workers {
				w.Terminate()
			}
			for _, w := range r.workers {
				r.mustStop(w)
			}
			r.judge(total)
			r.StopAll()
		})
	}
}

var schedulers = []struct {
	name string
	env  []string
}{
	{name: "that do nothing else", env: []string{"WORKER_QUEUES=otp=1"}},
	{name: "that run the polls, too"},
}

// rota is three workers that run a schedule, and one beside them that only polls.
type rota struct {
	*crew
	name  string
	apart bool // the three run no polls
	users []string
	first int64          // slot
	lost  map[string]int // ticks that a killed worker had counted

	lock sync.Mutex
	trap *trap
	// queued is when Redis was first asked to put a poll into the queue, by ID. It
	// does so, though the worker may not live to hear of it; later it refuses.
	queued map[string]time.Time
}

func newRota(t *testing.T, env ...string) *rota {
	t.Helper()
	r := &rota{
		crew:   newCrew(t, fleet.Options{}),
		name:   "polls",
		apart:  len(env) > 0,
		queued: map[string]time.Time{},
	}
	for range pollSubjects {
		r.users = append(r.users, r.User())
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"users.txt": strings.Join(r.users, "\n"),
		"schedules.yaml": `schedules:
  - name: polls
    every: 1s
    type: anna:messenger:alerts
    forEach: {userId: "@users.txt"}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.Start(1)
	r.Wait(soon, r.Many(20, r.ReadAlerts)) // it has its token
	for range 3 {
		w := &worker{link: newProxy(t)}
		w.link.aim(r.Redis.Addr())
		w.link.put(r.tap(w)) // from its first command on
		w.Process = r.Start(1, append([]string{"REDIS_URL=" + w.link.url(), "SCHEDULE_FILE=" + filepath.Join(dir, "schedules.yaml")}, env...)...)[0]
		r.workers = append(r.workers, w)
	}
	r.await(soon, "the first tick", func() bool { r.first = r.last(); return r.first > 0 })
	return r
}

// last is the slot that was enqueued last, 0 if there was none.
func (r *rota) last() int64 {
	tick, err := schedule.LastTick(r.t.Context(), r.Conn(), r.name)
	if err != nil {
		r.t.Errorf("read the last tick: %v", err)
	}
	if tick.Last.IsZero() {
		return 0
	}
	return tick.Last.Unix()
}

// reach waits until n ticks have passed since the first.
func (r *rota) reach(n int64) {
	r.t.Helper()
	r.await(time.Duration(n)*time.Second+soon, fmt.Sprintf("tick %d", n), func() bool { return r.last() >= r.first+n })
}

// countTicks compares what the workers have counted with what was enqueued.
func (r *rota) countTicks() {
	r.t.Helper()
	before := r.last()
	sum := map[string]int{}
	for result, n := range r.lost {
		sum[result] += n
	}
	for _, w := range r.workers {
		for result, n := range r.ticks(w) {
			sum[result] += n
		}
	}
	least, most := int(before-r.begin())+1, int(r.last()-r.begin())+1
	n := sum["enqueued"] + sum["late"]
	if n < least || n > most || sum["missed"]+sum["failed"] > 0 || fleet.Long() && sum["late"] > 0 {
		r.t.Errorf("the workers have counted %v, and %d to %d ticks were enqueued", sum, least, most)
	}
	r.t.Logf("errand_schedule_ticks_total: %v", sum)
}

// calls is how often AnnA was asked for alerts.
func (r *rota) calls() int { return r.AnnA.Calls(annatest.OpAlerts) }

var pollType = tasks.MessengerAlerts{}.Type()
