package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

// Enqueuer puts one task into the queue; *queue.Producer is one.
type Enqueuer interface {
	Enqueue(ctx context.Context, job queue.Job) (queue.Ticket, error)
}

const (
	// inFlight is how many tasks a worker enqueues at once, over all schedules. Each
	// is two scripts; those of all of them go together (queue.Combine), so that a
	// task costs a small part of a round trip.
	inFlight = 64
	// chunk is after how many tasks the lease is renewed and progress noted.
	chunk = 256
	// Until the next tick is due, this one may be gone on with by any worker. Its
	// tasks' keys are remembered for keyLife longer (every poll has one, so it must
	// not be much), and none of its tasks is created later than slack after that
	// time: a worker that froze in the middle of a tick goes on when it wakes up,
	// however late that is.
	keyLife = 10 * time.Minute
	slack   = keyLife / 2
	// lastLife stands for the time until the next tick if there is none.
	lastLife = 24 * time.Hour
)

// batch enqueues the tasks of one tick.
type batch struct {
	schedule *Schedule
	to       Enqueuer
	slots    chan struct{} // bounds what is in flight
	// stem is what the tasks' keys begin with.
	stem string
	// start is when the first task may run, usable for how long each is worth
	// running (0: as its type says).
	start  time.Time
	usable time.Duration
	// keyLife is how long the tasks' keys are remembered, by when it is too late to
	// create them (zero: never).
	keyLife time.Duration
	by      time.Time
}

// result counts what became of a batch's tasks.
type result map[string]int

func newBatch(
	s *Schedule,
	to Enqueuer,
	slots chan struct{},
	slot, start time.Time,
) *batch {
	b := &batch{
		schedule: s,
		to:       to,
		slots:    slots,
		start:    start,
		usable:   s.timing.period(slot),
		stem:     "schedule/" + s.Name + "/" + strconv.FormatInt(slot.Unix(), 10) + "/",
	}
	life := b.usable
	if life == 0 {
		life = lastLife
	}
	b.keyLife = life + keyLife
	b.by = slot.Add(life + slack)
	return b
}

// due is when the i-th task may run: the same place in every tick.
func (b *batch) due(i int) time.Time {
	n := time.Duration(b.schedule.Subjects())
	spread := b.schedule.Spread
	// Not i*spread/n, which a month and a million subjects would overflow.
	return b.start.Add(time.Duration(i)*(spread/n) + time.Duration(i)*(spread%n)/n)
}

// run enqueues tasks from..to. It returns the first error of Redis; then some of
// the tasks may be missing, and asking again is safe.
func (b *batch) run(
	ctx context.Context,
	from, to int,
) (counts result, overlapped []int, err error) {
	indices := make([]int, to-from)
	for i := range indices {
		indices[i] = from + i
	}
	return b.each(ctx, indices)
}

func (b *batch) each(
	ctx context.Context,
	indices []int,
) (counts result, overlapped []int, err error) {
	counts = result{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var running sync.WaitGroup
	for _, i := range indices {
		if !b.take(ctx) {
			break
		}
		running.Go(func() {
			defer func() {
				<-b.slots
			}()
			came, failed := b.one(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed != nil && err == nil:
				err = failed
				cancel() // the others would only wait for the same Redis
			case failed == nil && came == taskOverlap:
				overlapped = append(overlapped, i)
			case failed == nil:
				counts[came]++
			}
		})
	}
	running.Wait()
	if err == nil {
		err = ctx.Err()
	}
	slices.Sort(overlapped)
	return counts, overlapped, err
}

// take waits for a place among those in flight; false if ctx ends first.
func (b *batch) take(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case b.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *batch) one(ctx context.Context, i int) (came string, err error) {
	subject := b.schedule.subject(i)
	p, err := b.schedule.template.decode(subject)
	if err != nil {
		return taskRefused, nil
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return taskRefused, nil
	}
	policy := p.Policy()
	policy.KeyTTL = b.keyLife
	ticket, err := b.to.Enqueue(ctx, queue.Job{
		Type:      b.schedule.Type,
		Payload:   raw,
		Policy:  policy,
		Key:       b.stem + subject,
		UniqueWhileActive:     "schedule/" + b.schedule.Name + "/" + subject,
		At:        b.due(i),
		ExpireAfter:    worth(b.usable, policy),
		Scheduled: true,
		EnqueueBefore:        b.by,
	})
	switch {
	case errors.Is(err, ledger.ErrOverlap):
		return taskOverlap, nil
	case errors.Is(err, tasks.ErrKeyConflict): // it was enqueued before the file was changed
		return taskDuplicate, nil
	case err != nil:
		return "", fmt.Errorf("enqueue a task: %w", err)
	case ticket.Duplicate:
		return taskDuplicate, nil
	}
	return taskEnqueued, nil
}

// worth is how long a task of a tick is worth running: until about the next
// tick. A task that must not be repeated keeps its own time if that is shorter:
// a passcode sent late does harm however rarely it is sent.
func worth(period time.Duration, policy queue.Policy) time.Duration {
	if policy.Redelivery != queue.AtLeastOnce && policy.Budget > 0 && policy.Budget < period {
		return policy.Budget
	}
	return period
}
