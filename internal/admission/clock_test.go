package admission

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// world is a time that passes only while everybody sleeps. It lets tests with
// many goroutines say exactly when a call was let go.
type world struct {
	mu       sync.Mutex
	now      time.Time
	awake    int
	order    int
	sleepers sleepers
}

type sleeper struct {
	until time.Time
	order int
	wake  chan struct{}
}

type sleepers []sleeper

func (s sleepers) Len() int { return len(s) }
func (s sleepers) Less(i, j int) bool {
	if s[i].until.Equal(s[j].until) {
		return s[i].order < s[j].order
	}
	return s[i].until.Before(s[j].until)
}
func (s sleepers) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *sleepers) Push(x any)   { *s = append(*s, x.(sleeper)) }
func (s *sleepers) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

func newWorld() *world { return &world{now: time.UnixMicro(1_800_000_000_000_000)} }

// Now implements Clock.
func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Sleep implements Clock, for those whom work runs. Anybody else sleeps at once.
func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	if w.awake == 0 {
		w.now = w.now.Add(d)
		w.mu.Unlock()
		return nil
	}
	w.order++
	s := sleeper{until: w.now.Add(d), order: w.order, wake: make(chan struct{})}
	heap.Push(&w.sleepers, s)
	w.fallAsleep()
	w.mu.Unlock()
	<-s.wake
	return ctx.Err()
}

// fallAsleep lets time pass if nobody is awake any more.
func (w *world) fallAsleep() {
	w.awake--
	if w.awake > 0 || len(w.sleepers) == 0 {
		return
	}
	next := heap.Pop(&w.sleepers).(sleeper)
	if next.until.After(w.now) {
		w.now = next.until
	}
	w.awake++
	close(next.wake)
}

// work runs n at the same time, to their end.
func (w *world) work(n int, run func(i int)) {
	var all sync.WaitGroup
	w.mu.Lock()
	w.awake += n
	w.mu.Unlock()
	for i := range n {
		all.Go(func() {
			defer func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.fallAsleep()
			}()
			run(i)
		})
	}
	all.Wait()
}
