package schedule

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/ledger"
)

// TestThreeSchedulers runs three schedulers on one Redis. One dies in the middle
// of a tick, another freezes in the middle of one and wakes up later. Every
// tick and subject is enqueued once and in time, and every poll ends.
func TestThreeSchedulers(t *testing.T) {
	t.Parallel()
	const subjects = 50
	seconds := size(15, 60)
	s := newSite(t)
	s.work(nil)
	file := mustLoad(
		t,
		write(
			t,
			map[string]string{"s.yaml": entry("name: p", "every: 1s", "type: anna:messenger:alerts", users(subjects))},
		),
	)
	workers := map[string]*worker{}
	for _, name := range []string{"a", "b", "c"} {
		workers[name] = s.scheduler(name, file)
	}

	// Whoever is in the middle of a tick when the time has come is the one.
	var mu sync.Mutex
	var first int64
	var killed, frozen string
	var resume func()
	s.book.before = func(name string, a ask, nth int) {
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
			workers[name].line.cut()
		case killed != "" && frozen == "" && a.slot >= first+int64(seconds)*2/5:
			frozen = name
			resume = workers[name].line.freeze()
		}
	}
	for _, w := range workers {
		w.run(t)
	}
	last := int64(0)
	s.book.until(t, "the last tick is complete", func() bool {
		mu.Lock()
		defer mu.Unlock()
		last = first + int64(seconds) - 1
		return first > 0 && s.book.counts[last]+overlaps(s.book, last) >= subjects && s.book.counts[last+1] > 0
	})
	for _, w := range workers {
		w.stop()
	}
	t.Logf("killed %s, froze %s", killed, frozen)
	if killed == "" || frozen == "" || resume != nil {
		t.Fatal("nobody was killed, or frozen and woken: the test has shown nothing")
	}

	var latest time.Duration
	skipped := 0
	for slot := first; slot <= last; slot++ {
		for i := range subjects {
			a := ask{slot, fmt.Sprintf("u%d", i)}
			ids := s.book.ids[a]
			if len(ids) == 0 && s.book.overlap[a] > 0 {
				// Rightly so, if the earlier task had not ended at the time.
				skipped++
				for id := range s.book.ids[ask{slot - 1, a.subject}] {
					if r := s.record(id); r.Ended.Before(time.Unix(slot, 0)) {
						t.Errorf("%v was skipped although the task before ended at %s", a, r.Ended)
					}
				}
				continue
			}
			if len(ids) != 1 {
				t.Errorf("%v was enqueued %d times", a, len(ids))
			}
			for id := range ids {
				r := s.record(id)
				if r.Outcome != ledger.Done && r.Outcome != ledger.Expired { // it has a second, on a busy machine
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
	// The book has only what was answered. Nothing else may be in Redis, but what
	// the stop has cut off, of the tick after the last.
	known := map[string]bool{}
	for _, ids := range s.book.ids {
		for id := range ids {
			known[id] = true
		}
	}
	keys, err := s.redis.Client().Keys(t.Context(), "errand:{polls}:task:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		id := strings.TrimPrefix(key, "errand:{polls}:task:")
		if known[id] {
			continue
		}
		if r, err := s.store.Get(t.Context(), id); err != nil || r.Due.Before(time.Unix(last+1, 0)) {
			t.Errorf("Redis holds the task %s that nobody was told of, due %s, %v", id, r.Due, err)
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
		t.Errorf("%d ticks were counted, %d or a little more were enqueued", ticks, seconds)
	}
}

func overlaps(b *book, slot int64) int {
	n := 0
	for a := range b.overlap {
		if a.slot == slot && b.ids[a] == nil {
			n++
		}
	}
	return n
}

// TestRedisOutage freezes Redis, and later kills it. Ticks of the outage are
// missed, and no tick is enqueued twice.
func TestRedisOutage(t *testing.T) {
	t.Parallel()
	const subjects = 20
	s := newSite(t)
	file := mustLoad(
		t,
		write(
			t,
			map[string]string{"s.yaml": entry("name: p", "every: 1s", "type: anna:messenger:alerts", users(subjects))},
		),
	)
	// The tasks' own Redis stays up: what is looked at is the schedule's.
	other := newSite(t)
	var workers []*worker
	for _, name := range []string{"a", "b"} {
		w := s.scheduler(name, file)
		w.page.to = other.scheduler(name, file).page.to
		workers = append(workers, w.run(t))
	}
	// The polls are not run, so that a subject's second task is skipped: count
	// what was asked for.
	asked := func(slot int64) int {
		n := s.book.counts[slot]
		for a := range s.book.overlap {
			if a.slot == slot {
				n++
			}
		}
		return n
	}
	newest := func() (slot int64) {
		for a := range s.book.ids {
			slot = max(slot, a.slot)
		}
		for a := range s.book.overlap {
			slot = max(slot, a.slot)
		}
		return slot
	}
	var first int64
	s.book.until(t, "a tick", func() bool { first = newest(); return first > 0 })

	outage := func(begin, end func()) (before int64) {
		t.Helper()
		s.book.until(t, "two more ticks", func() bool { return newest() >= first+2 })
		begin()
		timer := time.NewTimer(6 * time.Second)
		<-timer.C
		s.book.mu.Lock()
		before = newest()
		s.book.mu.Unlock()
		end()
		s.book.until(
			t,
			"ticks after the outage",
			func() bool { return newest() >= before+5+2 && asked(newest()) == subjects },
		)
		return before
	}
	before := outage(s.redis.Pause, s.redis.Resume)
	for _, w := range workers {
		w.log.wait(t, "a schedule cannot reach Redis; it tries again", 1)
		w.log.wait(t, "schedules reach Redis again", 1)
	}
	s.book.mu.Lock()
	first = newest()
	missed := 0
	for slot := before + 1; slot < first; slot++ {
		if asked(slot) == 0 {
			missed++
		}
	}
	s.book.mu.Unlock()
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
	for a, ids := range s.book.ids {
		if len(ids) != 1 {
			t.Errorf("%v was enqueued %d times", a, len(ids))
		}
	}

	// Redis comes back empty: a schedule that it has forgotten starts anew.
	again := s.scheduler("c", file)
	again.page.to = other.scheduler("c", file).page.to
	again.run(t)
	first = 0
	before = outage(s.redis.Kill, s.redis.Start)
	if n := again.ticks("p", tickMissed); n != 0 {
		t.Errorf("%d ticks are counted as missed by a Redis that knows of none", n)
	}
	if before == 0 {
		t.Error("there were no ticks before the outage")
	}
}
