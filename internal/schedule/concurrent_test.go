package schedule

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
)

// TestSchedulersEnqueueEachTickOnce runs three schedulers on one Redis. One dies in
// the middle of a tick, another freezes in the middle of one and resumes later.
// Each subject of each tick is enqueued once and in time, and every task ends.
func TestSchedulersEnqueueEachTickOnce(t *testing.T) {
	t.Parallel()
	const subjects = 50
	seconds := size(15, 60)
	f := newFixture(t)
	f.startWorker(nil)
	file := loadOne(t, "name: p", "every: 1s", "type: shop:stock:read", items(subjects))
	workers := map[string]*testScheduler{}
	for _, name := range []string{"a", "b", "c"} {
		workers[name] = f.scheduler(name, file)
	}

	// The scheduler that is in the middle of a tick at the time is killed or frozen.
	var mu sync.Mutex
	var first int64
	var killed, frozen string
	var resume func()
	f.recorder.before = func(name string, a request, nth int) {
		mu.Lock()
		defer mu.Unlock()
		if first == 0 {
			first = a.slot
		}
		if resume != nil && a.slot >= first+int64(seconds)*2/3 {
			resume()
			resume = nil
		}
		switch {
		case nth != subjects/2 || name == killed || name == frozen:
		case killed == "" && a.slot >= first+int64(seconds)/5:
			killed = name
			workers[name].connection.close()
		case killed != "" && frozen == "" && a.slot >= first+int64(seconds)*2/5:
			frozen = name
			resume = workers[name].connection.freeze()
		}
	}
	for _, w := range workers {
		w.run(t)
	}
	last := int64(0)
	f.recorder.waitFor(t, "the last tick is complete", func() bool {
		mu.Lock()
		defer mu.Unlock()
		last = first + int64(seconds) - 1
		return first > 0 && f.recorder.counts[last]+overlaps(f.recorder, last) >= subjects && f.recorder.counts[last+1] > 0
	})
	for _, w := range workers {
		w.stop()
	}
	t.Logf("killed %s, froze %s", killed, frozen)
	if killed == "" || frozen == "" || resume != nil {
		t.Fatal("no scheduler was killed, or none frozen and resumed: the test proves nothing")
	}

	var latest time.Duration
	skipped := 0
	for slot := first; slot <= last; slot++ {
		for i := range subjects {
			a := request{slot, fmt.Sprintf("u%d", i)}
			ids := f.recorder.ids[a]
			if len(ids) == 0 && f.recorder.overlap[a] > 0 {
				// That is correct if the earlier task had not ended by then.
				skipped++
				for id := range f.recorder.ids[request{slot - 1, a.subject}] {
					if r := f.waitEnded(id); r.Ended.Before(time.Unix(slot, 0)) {
						t.Errorf("%v was skipped although the task before ended at %s", a, r.Ended)
					}
				}
				continue
			}
			if len(ids) != 1 {
				t.Errorf("%v was enqueued %d times", a, len(ids))
			}
			for id := range ids {
				r := f.waitEnded(id)
				// On a busy machine a task may not run within its second.
				if r.Outcome != record.Done && r.Outcome != record.Expired {
					t.Errorf("%v ended %s", a, r.Outcome)
				}
				latest = max(latest, r.Created.Sub(time.Unix(slot, 0)))
			}
		}
	}
	t.Logf(
		"%d ticks of %d tasks: the latest was enqueued %s after its time; %d skipped",
		seconds,
		subjects,
		latest,
		skipped,
	)
	if latest > grace {
		t.Errorf("a task was enqueued %s late", latest)
	}
	// The recorder has only requests that were answered. Redis may hold other tasks
	// only of the tick after the last, which the stop interrupted.
	known := map[string]bool{}
	for _, ids := range f.recorder.ids {
		for id := range ids {
			known[id] = true
		}
	}
	keys, err := f.redis.Client().Keys(t.Context(), "errand:{reads}:task:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		id := strings.TrimPrefix(key, "errand:{reads}:task:")
		if known[id] {
			continue
		}
		if r, err := f.store.Get(t.Context(), id); err != nil || r.Due.Before(time.Unix(last+1, 0)) {
			t.Errorf("Redis holds the task %s, which no scheduler knows of, due %s, %v", id, r.Due, err)
		}
	}
	ticks := 0
	for _, w := range workers {
		ticks += w.ticks("p", tickEnqueued) + w.ticks("p", tickLate)
		if n := w.ticks("p", tickMissed) + w.ticks("p", tickFailed); n > 0 {
			t.Errorf("%d ticks were counted as missed or failed", n)
		}
	}
	if ticks < seconds || ticks > seconds+2 {
		t.Errorf("%d ticks were counted, want %d or up to two more", ticks, seconds)
	}
}

func overlaps(b *recorder, slot int64) int {
	n := 0
	for a := range b.overlap {
		if a.slot == slot && b.ids[a] == nil {
			n++
		}
	}
	return n
}

// TestTicksOfAnOutageAreMissed freezes Redis, and later kills it. Ticks of the outage
// are missed, and none is enqueued twice.
func TestTicksOfAnOutageAreMissed(t *testing.T) {
	t.Parallel()
	const subjects = 20
	f := newFixture(t)
	file := loadOne(t, "name: p", "every: 1s", "type: shop:stock:read", items(subjects))
	// The tasks have a Redis of their own, which stays up.
	other := newFixture(t)
	var workers []*testScheduler
	for _, name := range []string{"a", "b"} {
		w := f.scheduler(name, file)
		w.recording.next = other.scheduler(name, file).recording.next
		workers = append(workers, w.run(t))
	}
	// No worker runs the tasks, so a subject's second task is skipped: count the
	// requests.
	requested := func(slot int64) int {
		n := f.recorder.counts[slot]
		for a := range f.recorder.overlap {
			if a.slot == slot {
				n++
			}
		}
		return n
	}
	newest := func() (slot int64) {
		for a := range f.recorder.ids {
			slot = max(slot, a.slot)
		}
		for a := range f.recorder.overlap {
			slot = max(slot, a.slot)
		}
		return slot
	}
	var first int64
	f.recorder.waitFor(t, "a tick", func() bool { first = newest(); return first > 0 })

	outage := func(begin, end func()) (before int64) {
		t.Helper()
		f.recorder.waitFor(t, "two more ticks", func() bool { return newest() >= first+2 })
		begin()
		began := time.Now()
		testwait.Eventually(t, time.Minute, "6 s of outage", func() bool { return time.Since(began) >= 6*time.Second })
		f.recorder.mu.Lock()
		before = newest()
		f.recorder.mu.Unlock()
		end()
		f.recorder.waitFor(
			t,
			"ticks after the outage",
			func() bool { return newest() >= before+5+2 && requested(newest()) == subjects },
		)
		return before
	}
	before := outage(f.redis.Pause, f.redis.Resume)
	for _, w := range workers {
		w.log.wait(t, "Redis request of a schedule failed; retrying", 1)
		w.log.wait(t, "Redis requests of schedules succeed again", 1)
	}
	f.recorder.mu.Lock()
	first = newest()
	missed := 0
	for slot := before + 1; slot < first; slot++ {
		if requested(slot) == 0 {
			missed++
		}
	}
	f.recorder.mu.Unlock()
	if missed < 2 || missed > 6 {
		t.Errorf("%d ticks of an outage of 6 s were missed", missed)
	}
	counted := 0
	for _, w := range workers {
		w.stop()
		counted += w.ticks("p", tickMissed)
	}
	if counted != missed {
		t.Errorf("%d ticks were counted as missed, %d were", counted, missed)
	}
	for a, ids := range f.recorder.ids {
		if len(ids) != 1 {
			t.Errorf("%v was enqueued %d times", a, len(ids))
		}
	}

	// Redis comes back empty, and treats the schedule as a new one.
	fresh := f.scheduler("c", file)
	fresh.recording.next = other.scheduler("c", file).recording.next
	fresh.run(t)
	first = 0
	before = outage(f.redis.Kill, f.redis.Start)
	if n := fresh.ticks("p", tickMissed); n != 0 {
		t.Errorf("%d ticks are counted as missed although Redis has lost the schedule's state", n)
	}
	if before == 0 {
		t.Error("there were no ticks before the outage")
	}
}
