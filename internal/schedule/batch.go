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

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// Enqueuer puts one task into the queue; *broker.Producer implements it.
type Enqueuer interface {
	Enqueue(ctx context.Context, job broker.Job) (broker.Ticket, error)
}

const (
	// maxInFlight is how many tasks a worker enqueues concurrently, over all
	// schedules. Each takes two scripts, which the client pipelines
	// (broker.Batch), so that a task costs a small part of a round trip.
	maxInFlight = 64
	// chunkSize is the number of tasks after which the lease is renewed and the
	// progress recorded.
	chunkSize = 256
	// Until the next tick is due, any worker may resume this one. Redis remembers
	// the keys of its tasks for keyMargin longer. That must not be much, because
	// every poll has a key. No task is created more than lateMargin after that
	// time: a worker that froze in the middle of a tick resumes when it wakes up,
	// however late that is.
	keyMargin  = 10 * time.Minute
	lateMargin = keyMargin / 2
	// lastTickPeriod replaces the time until the next tick if there is none.
	lastTickPeriod = 24 * time.Hour
)

// batch enqueues the tasks of one tick.
type batch struct {
	schedule  *Schedule
	enqueuer  Enqueuer
	inFlight  chan struct{} // bounds the tasks enqueued concurrently
	keyPrefix string        // of the tasks' keys
	start     time.Time     // when the first task may run
	period    time.Duration // until the next tick; 0 if there is none
	keyTTL    time.Duration // of the tasks' keys
	deadline  time.Time     // for creating tasks; zero for none
}

// taskCounts counts the tasks of a batch by result.
type taskCounts map[string]int

func newBatch(
	s *Schedule,
	enqueuer Enqueuer,
	inFlight chan struct{},
	slot, start time.Time,
) *batch {
	b := &batch{
		schedule:  s,
		enqueuer:  enqueuer,
		inFlight:  inFlight,
		keyPrefix: "schedule/" + s.Name + "/" + strconv.FormatInt(slot.Unix(), 10) + "/",
		start:     start,
		period:    s.timing.period(slot),
	}
	resumable := b.period
	if resumable == 0 {
		resumable = lastTickPeriod
	}
	b.keyTTL = resumable + keyMargin
	b.deadline = slot.Add(resumable + lateMargin)
	return b
}

// due is when the i-th task may run: each subject has the same place in every
// tick.
func (b *batch) due(i int) time.Time {
	n := time.Duration(b.schedule.Subjects())
	spread := b.schedule.Spread
	// Not i*spread/n, which overflows with a month and a million subjects.
	return b.start.Add(time.Duration(i)*(spread/n) + time.Duration(i)*(spread%n)/n)
}

// enqueueRange enqueues the tasks from..to-1; see enqueue.
func (b *batch) enqueueRange(
	ctx context.Context,
	from, to int,
) (counts taskCounts, overlapping []int, err error) {
	indices := make([]int, to-from)
	for i := range indices {
		indices[i] = from + i
	}
	return b.enqueue(ctx, indices)
}

// enqueue enqueues the tasks with the given indices, and returns the indices of
// those whose earlier task is still active. After an error, the first one of
// Redis, some tasks may be missing; calling it again is safe.
func (b *batch) enqueue(
	ctx context.Context,
	indices []int,
) (counts taskCounts, overlapping []int, err error) {
	counts = taskCounts{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var running sync.WaitGroup
	for _, i := range indices {
		if !b.acquire(ctx) {
			break
		}
		running.Go(func() {
			defer b.release()
			result, failure := b.enqueueOne(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failure != nil && err == nil:
				err = failure
				cancel() // the others would wait for the same Redis
			case failure == nil && result == taskOverlap:
				overlapping = append(overlapping, i)
			case failure == nil:
				counts[result]++
			}
		})
	}
	running.Wait()
	if err == nil {
		err = ctx.Err()
	}
	slices.Sort(overlapping)
	return counts, overlapping, err
}

// acquire waits until another task may be in flight; false if ctx ends first.
func (b *batch) acquire(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case b.inFlight <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *batch) release() {
	<-b.inFlight
}

func (b *batch) enqueueOne(ctx context.Context, i int) (result string, err error) {
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
	policy.KeyTTL = b.keyTTL
	ticket, err := b.enqueuer.Enqueue(ctx, broker.Job{
		Type:              b.schedule.Type,
		Payload:           raw,
		Policy:            policy,
		Key:               b.keyPrefix + subject,
		UniqueWhileActive: "schedule/" + b.schedule.Name + "/" + subject,
		At:                b.due(i),
		ExpireAfter:       expireAfter(b.period, policy),
		Scheduled:         true,
		By:                record.BySchedule(b.schedule.Name),
		EnqueueBefore:     b.deadline,
	})
	switch {
	case errors.Is(err, record.ErrAlreadyActive):
		return taskOverlap, nil
	case errors.Is(err, tasks.ErrKeyConflict): // enqueued before the file was changed
		return taskDuplicate, nil
	case err != nil:
		return "", fmt.Errorf("enqueue a task: %w", err)
	case ticket.Duplicate:
		return taskDuplicate, nil
	}
	return taskEnqueued, nil
}

// expireAfter is how long a task of a tick may wait to run: about until the next
// tick. A task that must not be repeated keeps its own time if that is shorter:
// a passcode sent late does harm however rarely it is sent.
func expireAfter(period time.Duration, policy broker.Policy) time.Duration {
	if policy.Redelivery != broker.AtLeastOnce && policy.Budget > 0 && policy.Budget < period {
		return policy.Budget
	}
	return period
}
