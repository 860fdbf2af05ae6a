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

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
)

// line is the connection of one scheduler to Redis, which a test can cut for
// good, as a crash does, or hold up, as a frozen process does.
type line struct {
	mu   sync.Mutex
	dead bool
	held chan struct{} // closed when it goes on; nil if it is not held
}

var errCut = errors.New("the line is cut")

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) freeze() (resume func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(chan struct{})
	l.held = held
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held = nil
		close(held)
	}
}

func (l *line) pass(ctx context.Context) error {
	l.mu.Lock()
	dead, held := l.dead, l.held
	l.mu.Unlock()
	if dead {
		return errCut
	}
	if held == nil {
		return nil
	}
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *line) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := l.pass(ctx); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (l *line) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := l.pass(ctx); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// ask is one thing that a scheduler asked the queue for.
type ask struct {
	slot    int64
	subject string
}

func parseKey(key string) ask {
	parts := strings.SplitN(key, "/", 4) // schedule/<name>/<slot>/<subject>
	slot, _ := strconv.ParseInt(strings.TrimPrefix(parts[2], "now-"), 10, 64)
	return ask{slot, parts[3]}
}

// book notes what all schedulers of a test asked for, and what came of it.
type book struct {
	mu      sync.Mutex
	ids     map[ask]map[string]bool
	overlap map[ask]int
	// counts[slot] is how many different subjects of it are in the queue.
	counts map[int64]int
	// changed is signalled after each entry.
	changed *sync.Cond
	// before, if set, is called before each request with the scheduler's name and
	// how many of this slot it has asked for.
	before func(scheduler string, a ask, nth int)
}

func newBook() *book {
	b := &book{ids: map[ask]map[string]bool{}, overlap: map[ask]int{}, counts: map[int64]int{}}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// page is the book as one scheduler writes it.
type page struct {
	*book
	name string
	to   Enqueuer

	mine sync.Mutex
	nth  map[int64]int
}

func (b *book) page(name string, to Enqueuer) *page {
	return &page{
		book: b,
		name: name,
		to:   to,
		nth:  map[int64]int{},
	}
}

func (p *page) Enqueue(ctx context.Context, job queue.Job) (queue.Ticket, error) {
	a := parseKey(job.Key)
	p.mine.Lock()
	p.nth[a.slot]++
	nth := p.nth[a.slot]
	p.mine.Unlock()
	if p.before != nil {
		p.before(p.name, a, nth)
	}
	ticket, err := p.to.Enqueue(ctx, job)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, ledger.ErrOverlap):
		p.overlap[a]++
	case err == nil:
		if p.ids[a] == nil {
			p.ids[a] = map[string]bool{}
			p.counts[a.slot]++
		}
		p.ids[a][ticket.ID] = true
	}
	p.changed.Broadcast()
	return ticket, err
}

// until waits for something to be true of the book.
func (b *book) until(t *testing.T, what string, true func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+size(30*time.Second, 2*time.Minute))
	defer cancel()
	stop := context.AfterFunc(ctx, b.changed.Broadcast)
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !true() {
		if ctx.Err() != nil {
			t.Fatalf("it never came to this: %s", what)
		}
		b.changed.Wait()
	}
}

// lines is a log that can be waited on.
type lines struct {
	mu      sync.Mutex
	all     []map[string]any
	changed *sync.Cond
}

func newLines() *lines {
	l := &lines{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := map[string]any{}
	if err := json.Unmarshal(bytes.TrimSpace(p), &entry); err != nil {
		return 0, err
	}
	l.all = append(l.all, entry)
	l.changed.Broadcast()
	return len(p), nil
}

// wait returns the n-th line (from 1) with a message.
func (l *lines) wait(t *testing.T, message string, n int) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, l.changed.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		seen := 0
		for _, entry := range l.all {
			if entry["message"] == message {
				if seen++; seen == n {
					return entry
				}
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the log never said %q %d times: %v", message, n, l.all)
		}
		l.changed.Wait()
	}
}

func (l *lines) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, entry := range l.all {
		if entry["message"] == message {
			n++
		}
	}
	return n
}
