package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// connection is the Redis connection of one scheduler. A test can close it for
// good, as a crash does, or freeze it, as a frozen process does.
type connection struct {
	mu     sync.Mutex
	closed bool
	frozen chan struct{} // closed when it resumes; nil if it is not frozen
}

var errClosed = errors.New("connection closed by the test")

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *connection) freeze() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frozen := make(chan struct{})
	c.frozen = frozen
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.frozen = nil
		close(frozen)
	}
}

// wait returns when a request may pass.
func (c *connection) wait(ctx context.Context) error {
	c.mu.Lock()
	closed, frozen := c.closed, c.frozen
	c.mu.Unlock()
	if closed {
		return errClosed
	}
	if frozen == nil {
		return nil
	}
	select {
	case <-frozen:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *connection) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *connection) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := c.wait(ctx); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (c *connection) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := c.wait(ctx); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// request identifies a task that a scheduler asked the queue for.
type request struct {
	slot    int64
	subject string
}

func parseKey(key string) request {
	parts := strings.SplitN(key, "/", 4) // schedule/<name>/<slot>/<subject>
	slot, _ := strconv.ParseInt(strings.TrimPrefix(parts[2], "now-"), 10, 64)
	return request{slot, parts[3]}
}

// recorder records what all schedulers of a test asked for, and the results.
type recorder struct {
	mu      sync.Mutex
	ids     map[request]map[string]bool
	overlap map[request]int
	// counts[slot] is the number of its subjects that are in the queue.
	counts map[int64]int
	// changed is signalled after each result.
	changed *sync.Cond
	// before, if set, is called before each request with the scheduler's name and
	// the number of its requests for this slot.
	before func(scheduler string, req request, nth int)
}

func newRecorder() *recorder {
	r := &recorder{
		ids:     map[request]map[string]bool{},
		overlap: map[request]int{},
		counts:  map[int64]int{},
	}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// recordingEnqueuer records what one scheduler enqueues.
type recordingEnqueuer struct {
	*recorder
	name string
	next Enqueuer

	nthMu sync.Mutex
	nth   map[int64]int
}

func (r *recorder) enqueuer(name string, next Enqueuer) *recordingEnqueuer {
	return &recordingEnqueuer{
		recorder: r,
		name:     name,
		next:     next,
		nth:      map[int64]int{},
	}
}

func (e *recordingEnqueuer) Enqueue(ctx context.Context, job broker.Job) (broker.Ticket, error) {
	req := parseKey(job.Key)
	e.nthMu.Lock()
	e.nth[req.slot]++
	nth := e.nth[req.slot]
	e.nthMu.Unlock()
	if e.before != nil {
		e.before(e.name, req, nth)
	}
	ticket, err := e.next.Enqueue(ctx, job)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case errors.Is(err, record.ErrAlreadyActive):
		e.overlap[req]++
	case err == nil:
		if e.ids[req] == nil {
			e.ids[req] = map[string]bool{}
			e.counts[req.slot]++
		}
		e.ids[req][ticket.ID] = true
	}
	e.changed.Broadcast()
	return ticket, err
}

// waitFor waits until holds returns true; what names the condition.
func (r *recorder) waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+size(30*time.Second, 2*time.Minute))
	defer cancel()
	stop := context.AfterFunc(ctx, r.changed.Broadcast)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !holds() {
		if ctx.Err() != nil {
			t.Fatalf("timed out waiting for: %s", what)
		}
		r.changed.Wait()
	}
}

// logRecorder keeps the log, and lets req test wait for req message.
type logRecorder struct {
	mu      sync.Mutex
	entries []map[string]any
	changed *sync.Cond
}

func newLogRecorder() *logRecorder {
	l := &logRecorder{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *logRecorder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := map[string]any{}
	if err := json.Unmarshal(bytes.TrimSpace(p), &entry); err != nil {
		return 0, err
	}
	l.entries = append(l.entries, entry)
	l.changed.Broadcast()
	return len(p), nil
}

// wait returns the n-th line (from 1) with a message.
func (l *logRecorder) wait(t *testing.T, message string, n int) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, l.changed.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		seen := 0
		for _, entry := range l.entries {
			if entry["message"] == message {
				if seen++; seen == n {
					return entry
				}
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("timed out waiting for %q in the log, %d times: %v", message, n, l.entries)
		}
		l.changed.Wait()
	}
}

func (l *logRecorder) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, entry := range l.entries {
		if entry["message"] == message {
			n++
		}
	}
	return n
}
