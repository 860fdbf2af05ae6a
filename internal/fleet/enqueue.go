package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

const (
	// parallelism is how many tasks are enqueued or read at once.
	parallelism = 8
	// confirmWithin is how long a task is enqueued again while Redis does not
	// confirm it.
	confirmWithin = 2 * time.Minute
	// pollInterval is the pause between two checks of a condition that no event
	// announces.
	pollInterval = 100 * time.Millisecond
)

// Enqueue enqueues a task and returns its ID. Every task has a key, so Enqueue can
// repeat a request that Redis did not confirm until it is confirmed, and the task is
// in the queue once. The fixture keeps the payload for Check.
func (f *Fixture) Enqueue(p tasks.Payload, opts ...tasks.Option) string {
	f.tb.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		f.tb.Errorf("encode %s: %v", p.Type(), err)
		return ""
	}
	decoded, err := all.Vendors.Decode(p.Type(), raw)
	if err != nil {
		f.tb.Errorf("decode %s: %v", p.Type(), err)
		return ""
	}
	if keyed, ok := p.(tasks.Keyed); !ok || keyed.Key() == "" {
		opts = slices.Insert(slices.Clone(opts), 0, tasks.Key(f.Name("key")))
	}
	ctx, cancel := context.WithTimeout(f.tb.Context(), confirmWithin)
	defer cancel()
	for {
		ticket, err := f.Client.EnqueuePayload(ctx, decoded, opts...)
		if err == nil {
			f.remember(ticket.ID, p)
			return ticket.ID
		}
		_, refused := errors.AsType[*tasks.PayloadError](err)
		if refused || ctx.Err() != nil || !pause(ctx) {
			f.tb.Errorf("enqueue %s: %v", p.Type(), err)
			return ""
		}
	}
}

func (f *Fixture) remember(id string, p tasks.Payload) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.payloads[id] == nil {
		f.enqueued = append(f.enqueued, id)
	}
	f.payloads[id] = p
}

// pause waits for pollInterval. It reports false if ctx ends first.
func pause(ctx context.Context) bool {
	t := time.NewTimer(pollInterval)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Enqueued returns the IDs of all tasks that were enqueued, in this order.
func (f *Fixture) Enqueued() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.enqueued)
}

// EnqueueNew enqueues a task with a subject of its own.
func (f *Fixture) EnqueueNew(k *Kind, opts ...tasks.Option) string {
	f.tb.Helper()
	return f.Enqueue(k.New(), opts...)
}

// EnqueueMany enqueues n tasks, each with a subject of its own, and returns their
// IDs.
func (f *Fixture) EnqueueMany(n int, k *Kind, opts ...tasks.Option) []string {
	ids := make([]string, n)
	Parallel(n, func(i int) {
		ids[i] = f.EnqueueNew(k, opts...)
	})
	return ids
}

// Parallel calls do with 0 to n-1, several at once.
func Parallel(n int, do func(i int)) {
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(parallelism, n) {
		workers.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	workers.Wait()
}

// Load enqueues a task every interval until stop is called, which returns all their
// IDs. It continues through an outage of Redis.
func (f *Fixture) Load(
	interval time.Duration,
	k *Kind,
	opts ...tasks.Option,
) (stop func() []string) {
	end := make(chan struct{})
	ended := make(chan struct{})
	var ids []string
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-f.tb.Context().Done():
				return
			case <-ticker.C:
				ids = append(ids, f.EnqueueNew(k, opts...))
			}
		}
	}()
	once := sync.OnceValue(func() []string {
		close(end)
		<-ended
		return ids
	})
	f.tb.Cleanup(func() {
		_ = once()
	})
	return once
}
