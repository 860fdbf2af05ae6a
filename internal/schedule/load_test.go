package schedule

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/internal/broker"
)

// manyItems is a schedule file with n subjects in a subject file.
func manyItems(t *testing.T, n int) *File {
	t.Helper()
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "item-%07d\n", i)
	}
	return mustLoad(t, write(t, map[string]string{
		"s.yaml": oneSchedule(
			"name: p",
			"every: 1h",
			"type: shop:stock:read",
			`forEach: {itemId: "@items.txt"}`,
			"spread: 20s",
		),
		"items.txt": list.String(),
	}))
}

// countingEnqueuer is a queue that only counts the tasks due in each tenth of a
// second.
type countingEnqueuer struct {
	mu    sync.Mutex
	start time.Time
	due   map[int]int
	most  uint64
	total int
}

func (c *countingEnqueuer) Enqueue(_ context.Context, job broker.Job) (broker.Ticket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total == 0 {
		c.start = job.At
	}
	c.start = earlier(c.start, job.At)
	c.due[int(job.At.UnixMilli()/100)]++
	if c.total++; c.total%10_000 == 0 {
		c.most = max(c.most, heap())
	}
	return broker.Ticket{}, nil
}

// heapProbe measures the heap on every n-th task, and passes the tasks on.
type heapProbe struct {
	next  Enqueuer
	every int

	mu    sync.Mutex
	asked int
	most  uint64
	took  time.Duration
}

func (p *heapProbe) Enqueue(ctx context.Context, job broker.Job) (broker.Ticket, error) {
	p.mu.Lock()
	if p.asked++; p.asked%p.every == 0 {
		began := time.Now()
		p.most = max(p.most, heap())
		p.took += time.Since(began)
	}
	p.mu.Unlock()
	return p.next.Enqueue(ctx, job)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// 100,000 subjects take little more memory than their file, one tick of them
// takes no more, and the load is even.
func TestManySubjectsTakeLittleMemory(t *testing.T) {
	const n = 100_000
	before := heap()
	began := time.Now()
	file := manyItems(t, n)
	if got := file.Schedules[0].Subjects(); got != n {
		t.Fatalf("subjects = %d", got)
	}
	held := int64(heap()) - int64(before)
	t.Logf(
		"%d subjects read and checked in %s; they take %d KiB",
		n,
		time.Since(began).Round(time.Millisecond),
		held>>10,
	)
	if held > 4<<20 {
		t.Errorf("%d subjects take %d KiB, want at most 4 MiB: 12 bytes of text and 4 of index for each", n, held>>10)
	}
	if got := string(file.Schedules[0].payload(n - 1)); got != `{"itemId":"item-0099999"}` {
		t.Errorf("the last payload is %s", got)
	}

	f := newFixture(t)
	f.setState("p", "last", f.now().Truncate(time.Hour).Unix()-3600, "spec", "every 1h")
	w := f.scheduler("a", file)
	count := &countingEnqueuer{due: map[int]int{}}
	w.enqueuer = count
	base := heap()
	began = time.Now()
	w.runDue(t)
	t.Logf(
		"a tick was enqueued in %s; the heap grew by at most %d KiB",
		time.Since(began).Round(time.Millisecond),
		(int64(count.most)-int64(base))>>10,
	)
	if grown := int64(count.most) - int64(base); grown > 8<<20 {
		t.Errorf("a tick took %d KiB more, want at most 8 MiB", grown>>10)
	}
	if count.total != n || w.tasks("p", taskEnqueued) != n {
		t.Errorf("%d tasks were enqueued, %d counted", count.total, w.tasks("p", taskEnqueued))
	}
	// 20 s have 200 tenths, of 500 tasks each; start and end fall within a tenth.
	first := int(count.start.UnixMilli() / 100)
	if len(count.due) < 200 || len(count.due) > 201 {
		t.Errorf("the tasks are due in %d tenths of a second, want 200", len(count.due))
	}
	for tenth := first + 1; tenth < first+200; tenth++ {
		if got := count.due[tenth]; got < 495 || got > 505 {
			t.Errorf("%d tasks are due in tenth %d, want 500", got, tenth-first)
		}
	}
}

func TestLargeTickIsEnqueuedInRedis(t *testing.T) {
	n := size(3_000, 100_000)
	f := newFixture(t)
	file := manyItems(t, n)
	f.setState("p", "last", f.now().Truncate(time.Hour).Unix()-3600, "spec", "every 1h")
	w := f.scheduler("a", file)
	probe := &heapProbe{next: w.recording.next, every: n / 10} // without the recorder, which keeps everything
	w.enqueuer = probe
	before := heap()
	began := time.Now()
	w.runDue(t)
	took := time.Since(began) - probe.took
	grown := (int64(max(probe.most, heap())) - int64(before)) >> 10
	t.Logf(
		"%d tasks enqueued in %s: %.0f/s; the heap grew by at most %d KiB",
		n,
		took.Round(time.Millisecond),
		float64(n)/took.Seconds(),
		grown,
	)
	if grown > 8<<10 {
		t.Errorf("the heap grew by %d KiB", grown)
	}
	if got := w.tasks("p", taskEnqueued); got != n {
		t.Errorf("%d tasks were enqueued, want %d", got, n)
	}
	waiting, err := f.redis.Client().ZCard(t.Context(), "asynq:{reads}:scheduled").Result()
	if err != nil {
		t.Fatal(err)
	}
	pending, err := f.redis.Client().LLen(t.Context(), "asynq:{reads}:pending").Result()
	if err != nil {
		t.Fatal(err)
	}
	if int(waiting+pending) != n {
		t.Errorf("the queue holds %d and %d tasks, want %d", waiting, pending, n)
	}
}
