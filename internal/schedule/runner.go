package schedule

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"errand.internal/internal/ledger"
)

const (
	// grace is by how much a tick may be late and still count as on time. It
	// covers a worker that dies in the middle of a tick, and a pause of the
	// same length.
	grace = 2 * time.Second
	// maxSleep bounds how long a runner trusts its idea of Redis's clock.
	maxSleep = 30 * time.Second
	// After an error a runner waits, longer each time.
	minBackoff, maxBackoff = 100 * time.Millisecond, time.Second
	// A tick that follows this closely on the one before, because that was late,
	// would skip tasks only since the earlier ones have had no time to end. It
	// asks a few times before it does.
	closely       = 500 * time.Millisecond
	patience      = 5
	patiencePause = 100 * time.Millisecond
)

// runner runs one schedule in one worker.
type runner struct {
	of    *Scheduler
	def   *Schedule
	marks marks
	owner string
	// retired is closed when another runner takes the schedule over in this
	// worker: a tick under way is ended, no new one begun.
	retired chan struct{}
	cancel  context.CancelFunc
	ended   chan struct{}

	entered bool
	last    time.Time // last slot, as Redis had it
	now     time.Time // Redis's clock …
	seen    time.Time // … at this time of our own
}

func newRunner(s *Scheduler, def *Schedule) *runner {
	return &runner{
		of:      s,
		def:     def,
		marks:   newMarks(s.redis, def),
		owner:   rand.Text(),
		retired: make(chan struct{}),
		ended:   make(chan struct{}),
	}
}

// run ends with ctx or when the runner is retired.
func (r *runner) run(ctx context.Context) {
	defer close(r.ended)
	backoff := minBackoff
	for r.active(ctx) {
		wait, err := r.step(ctx)
		if err != nil && ctx.Err() == nil {
			r.of.trouble(r.def.Name, err)
			wait, backoff = backoff, min(2*backoff, maxBackoff)
		} else if err == nil {
			r.of.fine()
			backoff = minBackoff
		}
		r.sleep(ctx, wait)
	}
}

func (r *runner) active(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-r.retired:
		return false
	default:
		return true
	}
}

func (r *runner) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-r.retired:
	}
}

// clock is Redis's clock as well as we know.
func (r *runner) clock() time.Time {
	return r.now.Add(time.Since(r.seen))
}

func (r *runner) sync(now, last time.Time) {
	r.now = now
	r.seen = time.Now()
	r.last = last
}

// step does what is to be done now, and says how long nothing will be.
func (r *runner) step(ctx context.Context) (time.Duration, error) {
	if !r.entered {
		now, last, err := r.marks.enter(ctx, r.def.timing.String())
		if err != nil {
			return 0, err
		}
		r.sync(now, last)
		r.entered = true
	}
	if time.Since(r.seen) >= maxSleep {
		now, last, err := r.marks.look(ctx)
		if err != nil {
			return 0, err
		}
		if last.IsZero() {
			r.entered = false
			return 0, nil
		}
		r.sync(now, last)
	}
	slot, upcoming := r.def.timing.due(r.last, r.clock(), grace)
	if slot.IsZero() {
		if upcoming.IsZero() {
			return maxSleep, nil
		}
		return min(upcoming.Sub(r.clock()), maxSleep), nil
	}
	g, err := r.marks.begin(ctx, slot, r.owner, r.def.digest)
	if err != nil {
		return 0, err
	}
	if g.verdict == lost {
		r.entered = false
		return 0, nil
	}
	r.sync(g.now, g.last)
	switch g.verdict {
	case early:
		return max(slot.Sub(g.now), time.Millisecond), nil
	case held:
		return min(g.wait, leaseMS*time.Millisecond) + time.Millisecond, nil
	case begun, resumed:
		return 0, r.tick(ctx, slot, g)
	}
	return 0, nil
}

// tick enqueues a slot that is ours.
func (r *runner) tick(ctx context.Context, slot time.Time, g grant) error {
	name, metrics := r.def.Name, r.of.metrics
	if g.verdict == begun {
		r.missed(slot, g)
	}
	late := g.begun.Sub(slot) > grace
	start := slot
	if late { // spread over the time that is left, not over the past
		start = g.begun
	}
	b := newBatch(r.def, r.of.to, r.of.slots, slot, start)
	refused, tries := 0, 0
	if g.after < closely {
		tries = patience
	}
	for from := g.done; from < r.def.Subjects(); {
		to := min(from+chunk, r.def.Subjects())
		counts, err := r.chunk(ctx, b, from, to, &tries)
		for came, n := range counts {
			metrics.tasks.WithLabelValues(name, came).Add(float64(n))
		}
		refused += counts[taskRefused]
		if errors.Is(err, ledger.ErrLate) {
			return nil // a newer tick is due by now, and this one is not ours any more
		}
		if err != nil {
			if ctx.Err() != nil {
				r.marks.release(ctx, r.owner)
			}
			return err
		}
		if from = to; from < r.def.Subjects() {
			if ours, err := r.marks.renew(ctx, slot, r.owner, from); err != nil || !ours {
				return err
			}
		}
	}
	first, last, err := r.marks.finish(ctx, slot)
	if err != nil {
		return err
	}
	r.last = last
	if refused > 0 {
		r.of.log.Error().
			Str("schedule", name).
			Time("tick", slot).
			Int("tasks", refused).
			Msg("tasks of a tick were refused: their payloads break a rule today")
	}
	switch {
	case first && late:
		metrics.tick(name, tickLate, 1)
		r.of.log.Warn().
			Str("schedule", name).
			Time("tick", slot).
			Msg("a tick was enqueued late")
	case first:
		metrics.tick(name, tickEnqueued, 1)
	}
	return nil
}

// missed counts the slots that the one just begun has left behind.
func (r *runner) missed(slot time.Time, g grant) {
	n := r.def.timing.between(g.last, slot)
	if g.dropped {
		r.of.metrics.tick(r.def.Name, tickFailed, 1)
		n--
	}
	if n > 0 {
		r.of.metrics.tick(r.def.Name, tickMissed, n)
	}
	if n > 0 || g.dropped {
		r.of.log.Warn().
			Str("schedule", r.def.Name).
			Time("tick", slot).
			Int("missed", n).
			Bool("one_cut_short", g.dropped).
			Msg("ticks were left out: there was no time for them, or nobody to run them")
	}
}

// chunk enqueues some tasks of a tick. Those whose earlier task is under way are
// asked for again while there are tries left, and then skipped.
func (r *runner) chunk(
	ctx context.Context,
	b *batch,
	from, to int,
	tries *int,
) (result, error) {
	counts, overlapped, err := b.run(ctx, from, to)
	for err == nil && len(overlapped) > 0 && *tries > 0 {
		*tries--
		r.sleep(ctx, patiencePause)
		var more result
		more, overlapped, err = b.each(ctx, overlapped)
		for came, n := range more {
			counts[came] += n
		}
	}
	if n := len(overlapped); n > 0 && err == nil {
		counts[taskOverlap] += n
	}
	return counts, err
}
