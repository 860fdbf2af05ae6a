package schedule

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"errand.internal/internal/record"
)

const (
	// grace is how late a tick may begin and still count as on time. It covers a
	// worker that dies in the middle of a tick, and a pause of the same length.
	grace = 2 * time.Second
	// maxSleep bounds how long a runner relies on its estimate of Redis's clock.
	maxSleep = 30 * time.Second
	// After an error a runner waits for the backoff, which doubles each time.
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
	// A tick that begins less than minGap after the end of the previous one, which
	// was late, would skip tasks only because the earlier ones have had no time to
	// end. It retries them overlapRetries times, overlapPause apart.
	minGap         = 500 * time.Millisecond
	overlapRetries = 5
	overlapPause   = 100 * time.Millisecond
)

// runner runs one schedule in one worker.
type runner struct {
	scheduler *Scheduler
	schedule  *Schedule
	state     state
	owner     string
	// retired is closed when another runner of this worker takes the schedule over:
	// the runner completes its tick in progress and begins no other.
	retired chan struct{}
	cancel  context.CancelFunc
	stopped chan struct{}

	registered bool
	lastSlot   time.Time // as Redis had it at the last sync
	redisTime  time.Time // Redis's clock at the last sync …
	syncedAt   time.Time // … and this worker's
}

func newRunner(s *Scheduler, schedule *Schedule) *runner {
	return &runner{
		scheduler: s,
		schedule:  schedule,
		state:     newState(s.redis, schedule),
		owner:     rand.Text(),
		retired:   make(chan struct{}),
		stopped:   make(chan struct{}),
	}
}

// run returns when ctx ends or the runner is retired.
func (r *runner) run(ctx context.Context) {
	defer close(r.stopped)
	backoff := minBackoff
	for r.active(ctx) {
		wait, err := r.step(ctx)
		if err != nil && ctx.Err() == nil {
			r.scheduler.logFailure(r.schedule.Name, err)
			wait = backoff
			backoff = min(2*backoff, maxBackoff)
		} else if err == nil {
			r.scheduler.logRecovery()
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

// clock estimates Redis's clock.
func (r *runner) clock() time.Time {
	return r.redisTime.Add(time.Since(r.syncedAt))
}

func (r *runner) sync(redisTime, lastSlot time.Time) {
	r.redisTime = redisTime
	r.syncedAt = time.Now()
	r.lastSlot = lastSlot
}

// step does what is due now, and returns how long to wait for the next step.
func (r *runner) step(ctx context.Context) (time.Duration, error) {
	if err := r.refresh(ctx); err != nil || !r.registered {
		return 0, err
	}
	slot, upcoming := r.schedule.timing.due(r.lastSlot, r.clock(), grace)
	if slot.IsZero() {
		if upcoming.IsZero() {
			return maxSleep, nil
		}
		return min(upcoming.Sub(r.clock()), maxSleep), nil
	}
	l, err := r.state.begin(ctx, slot, r.owner, r.schedule.digest)
	if err != nil {
		return 0, err
	}
	if l.status == slotUnknown {
		r.registered = false
		return 0, nil
	}
	r.sync(l.now, l.lastSlot)
	switch l.status {
	case slotEarly:
		return max(slot.Sub(l.now), time.Millisecond), nil
	case slotHeld:
		return min(l.wait, leaseMS*time.Millisecond) + time.Millisecond, nil
	case slotBegun, slotResumed:
		return 0, r.tick(ctx, slot, l)
	}
	return 0, nil
}

// refresh registers the schedule with Redis if needed, and reads Redis's clock
// and the last slot again when the estimate of the clock is too old.
func (r *runner) refresh(ctx context.Context) error {
	if !r.registered {
		now, last, err := r.state.register(ctx, r.schedule.timing.String())
		if err != nil {
			return err
		}
		r.sync(now, last)
		r.registered = true
	}
	if time.Since(r.syncedAt) < maxSleep {
		return nil
	}
	now, last, err := r.state.read(ctx)
	if err != nil {
		return err
	}
	if last.IsZero() {
		r.registered = false
		return nil
	}
	r.sync(now, last)
	return nil
}

// tick enqueues the tasks of a slot that this runner has the lease of.
func (r *runner) tick(ctx context.Context, slot time.Time, l lease) error {
	missed := r.schedule.timing.between(l.lastSlot, slot)
	if l.status == slotBegun {
		r.countMissed(slot, missed, l)
	}
	late := l.begun.Sub(slot) > grace
	start := slot
	if late { // spread over the time that is left, not over the past
		start = l.begun
	}
	b := newBatch(r.schedule, r.scheduler.enqueuer, r.scheduler.inFlight, slot, start)
	refused, complete, err := r.enqueueAll(ctx, b, slot, l)
	if err != nil || !complete {
		return err
	}
	first, last, err := r.state.finish(ctx, slot, missed, l.begun)
	if err != nil {
		return err
	}
	r.lastSlot = last
	if refused > 0 {
		r.scheduler.log.Error().
			Str("schedule", r.schedule.Name).
			Time("tick", slot).
			Int("tasks", refused).
			Msg("payloads broke a rule; their tasks were not enqueued")
	}
	switch {
	case first && late:
		r.scheduler.metrics.countTicks(r.schedule.Name, tickLate, 1)
		r.scheduler.log.Warn().
			Str("schedule", r.schedule.Name).
			Time("tick", slot).
			Msg("tick enqueued late")
	case first:
		r.scheduler.metrics.countTicks(r.schedule.Name, tickEnqueued, 1)
	}
	return nil
}

// enqueueAll enqueues the tasks of a slot in chunks, and renews the lease after
// each. complete is false if the slot belongs to another worker by now, or is
// too old.
func (r *runner) enqueueAll(
	ctx context.Context,
	b *batch,
	slot time.Time,
	l lease,
) (refused int, complete bool, err error) {
	retries := 0
	if l.gap < minGap {
		retries = overlapRetries
	}
	total := r.schedule.Subjects()
	for from := l.done; from < total; {
		to := min(from+chunkSize, total)
		counts, err := r.enqueueChunk(ctx, b, from, to, &retries)
		for result, n := range counts {
			r.scheduler.metrics.tasks.WithLabelValues(r.schedule.Name, result).Add(float64(n))
		}
		refused += counts[taskRefused]
		if errors.Is(err, record.ErrLate) {
			return refused, false, nil // a newer tick is due
		}
		if err != nil {
			if ctx.Err() != nil {
				r.state.release(ctx, r.owner)
			}
			return refused, false, err
		}
		from = to
		if from == total {
			break
		}
		if held, err := r.state.renew(ctx, slot, r.owner, from); err != nil || !held {
			return refused, false, err
		}
	}
	return refused, true, nil
}

// enqueueChunk enqueues some tasks of a tick. Those whose earlier task is still
// active are retried while retries are left, and then skipped.
func (r *runner) enqueueChunk(
	ctx context.Context,
	b *batch,
	from, to int,
	retries *int,
) (taskCounts, error) {
	counts, overlapping, err := b.enqueueRange(ctx, from, to)
	for err == nil && len(overlapping) > 0 && *retries > 0 {
		*retries--
		r.sleep(ctx, overlapPause)
		var more taskCounts
		more, overlapping, err = b.enqueue(ctx, overlapping)
		for result, n := range more {
			counts[result] += n
		}
	}
	if n := len(overlapping); n > 0 && err == nil {
		counts[taskOverlap] += n
	}
	return counts, err
}

// countMissed counts the slots that the slot just begun has left behind.
func (r *runner) countMissed(slot time.Time, missed int, l lease) {
	if l.abandoned {
		r.scheduler.metrics.countTicks(r.schedule.Name, tickFailed, 1)
		missed--
	}
	if missed > 0 {
		r.scheduler.metrics.countTicks(r.schedule.Name, tickMissed, missed)
	}
	if missed > 0 || l.abandoned {
		r.scheduler.log.Warn().
			Str("schedule", r.schedule.Name).
			Time("tick", slot).
			Int("missed", missed).
			Bool("one_cut_short", l.abandoned).
			Msg("earlier ticks were missed; continuing with this one")
	}
}
