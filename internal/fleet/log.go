package fleet

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
)

// processLog is the output of a process. Readers see complete lines only.
type processLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
	closed  bool
}

func newProcessLog() *processLog {
	return &processLog{changed: make(chan struct{})}
}

// Write implements io.Writer.
func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

// close marks the end of the output.
func (l *processLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.changed)
	}
}

// String returns the output so far.
func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits for the first line that contains text and returns it.
func (l *processLog) wait(ctx context.Context, text string) (string, error) {
	for from := 0; ; {
		l.mu.Lock()
		unread := l.text.Bytes()[from:]
		changed := l.changed
		closed := l.closed
		complete := bytes.LastIndexByte(unread, '\n') + 1
		for line := range bytes.Lines(unread[:complete]) {
			if bytes.Contains(line, []byte(text)) {
				found := string(line)
				l.mu.Unlock()
				return found, nil
			}
		}
		from += complete
		l.mu.Unlock()
		if closed {
			return "", fmt.Errorf("the process ended without logging %q", text)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %q in the log: %w", text, context.Cause(ctx))
		}
	}
}

// tail returns the last n lines, without those of tasks that are done.
func (l *processLog) tail(n int) string {
	var kept []string
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, `"outcome":"done"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-n):], "")
}

// forbidden are texts that no process may log.
var forbidden = []string{
	"WARNING: DATA RACE",
	"panic: ",
	"fatal error: ",
	"the handler panicked",
	"the login panicked",
}

// forbiddenLines returns the lines with a forbidden text.
func (l *processLog) forbiddenLines() []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		for _, text := range forbidden {
			if strings.Contains(line, text) {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return found
}
