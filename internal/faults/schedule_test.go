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

const (
	// pollSubjects is how many polls one tick has.
	pollSubjects = 50
	// tickLate is the most that a poll may be enqueued after its tick.
	tickLate = 2 * time.Second
)

// Issue 6, "Shows" 1: three workers run one schedule, every second. One is killed
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
			killed, middle := r.strike(stroke{d.IntN(pollSubjects), []step{create, enqueue}[d.IntN(2)], fate(d.IntN(2))}, func(w *worker) {
				r.lost = r.ticks(w)
				w.Kill()
			})
			t.Logf("%s was killed at %s", killed.Name, middle)
			r.workers = slices.DeleteFunc(r.workers, func(w *worker) bool { return w == killed })
			r.reach(total * 2 / 5)
			frozen, middle := r.strike(stroke{d.IntN(pollSubjects), []step{create, enqueue}[d.IntN(2)], fate(d.IntN(2))}, func(w *worker) { w.Pause() })
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
	r := &rota{crew: newCrew(t, fleet.Options{}), name: "polls", apart: len(env) > 0, queued: map[string]time.Time{}}
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

// stroke says when a worker is struck in the middle of a tick: at the n-th
// command of a kind, before Redis has it. What it has sent by then arrives
// (pass), or is lost with the connection (cut).
type stroke struct {
	n    int
	at   step
	then fate
}

// String implements fmt.Stringer.
func (s stroke) String() string {
	return fmt.Sprintf("%s %d of %d, what was on its way %s", s.at, s.n+1, pollSubjects, map[fate]string{pass: "arrived", cut: "was lost"}[s.then])
}

// trap waits for a worker to be there.
type trap struct {
	stroke
	seen   map[*worker]int
	taken  bool
	caught chan *worker
	struck chan struct{}
}

// strike does something to the first worker that is there. The command stands
// still meanwhile, so that the worker has surely not got any further.
func (r *rota) strike(s stroke, how func(*worker)) (*worker, stroke) {
	r.t.Helper()
	t := &trap{stroke: s, seen: map[*worker]int{}, caught: make(chan *worker, 1), struck: make(chan struct{})}
	defer close(t.struck)
	r.setTrap(t)
	defer r.setTrap(nil)
	deadline := time.NewTimer(soon)
	defer deadline.Stop()
	select {
	case w := <-t.caught:
		how(w)
		return w, s
	case <-deadline.C:
		r.t.Fatalf("no worker was met at %s", s)
		panic("unreachable")
	}
}

func (r *rota) setTrap(t *trap) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.trap = t
}

// tap sees all that a worker says to Redis.
func (r *rota) tap(w *worker) tap {
	return func(c *command, reply []byte) fate {
		at, id := c.step()
		if reply == nil {
			if then := r.meet(w, c, at, id); then != pass {
				return then
			}
		}
		if at == enqueue {
			r.lock.Lock()
			defer r.lock.Unlock()
			if reply == nil && r.queued[id].IsZero() {
				r.queued[id] = time.Now()
			} else if reply != nil && reply[0] == '-' { // NOSCRIPT
				delete(r.queued, id)
			}
		}
		return pass
	}
}

// meet holds the worker if it is in the trap, until it was struck.
func (r *rota) meet(w *worker, c *command, at step, id string) fate {
	r.lock.Lock()
	defer r.lock.Unlock()
	t := r.trap
	switch {
	case t == nil || t.taken:
	case len(c.args) > 3 && strings.HasPrefix(c.args[3], "errand:schedule:"):
		t.seen[w] = 0 // another tick, or the same anew
	case at == t.at && strings.HasPrefix(id, "polls-"):
		if t.seen[w]++; t.seen[w] <= t.n {
			return pass
		}
		t.taken = true
		r.lock.Unlock()
		t.caught <- w
		<-t.struck
		r.lock.Lock()
		return t.then
	}
	return pass
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
	if n := sum["enqueued"]; n < least || n > most || sum["late"]+sum["missed"]+sum["failed"] > 0 {
		r.t.Errorf("the workers have counted %v, and %d to %d ticks were enqueued", sum, least, most)
	}
	r.t.Logf("errand_schedule_ticks_total: %v", sum)
}

// calls is how often AnnA was asked for alerts.
func (r *rota) calls() int { return r.AnnA.Calls(annatest.OpAlerts) }

var pollType = tasks.MessengerAlerts{}.Type()
