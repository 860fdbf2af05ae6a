package fleet

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
)

// journal is what one process has logged so far. Only whole lines count.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced with every write
	closed  bool
}

func newJournal() *journal {
	return &journal{changed: make(chan struct{})}
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	close(j.changed)
	j.changed = make(chan struct{})
	return len(p), nil
}

// end says that nothing more will come.
func (j *journal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.closed = true
		close(j.changed)
	}
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// wait gives the first line that contains want, as soon as there is one.
func (j *journal) wait(ctx context.Context, want string) (string, error) {
	for from := 0; ; {
		j.mu.Lock()
		text := j.text.Bytes()[from:]
		changed := j.changed
		closed := j.closed
		whole := bytes.LastIndexByte(text, '\n') + 1
		for line := range bytes.Lines(text[:whole]) {
			if bytes.Contains(line, []byte(want)) {
				found := string(line)
				j.mu.Unlock()
				return found, nil
			}
		}
		from += whole
		j.mu.Unlock()
		if closed {
			return "", fmt.Errorf("the process ended without logging %q", want)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %q in the log: %w", want, context.Cause(ctx))
		}
	}
}

// tail is the last lines, for the message of a failed test; tasks that are done
// are left out.
func (j *journal) tail(lines int) string {
	var kept []string
	for line := range strings.Lines(j.String()) {
		if !strings.Contains(line, `"outcome":"done"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-lines):], "")
}

// alarms are the lines that no process may ever log.
func (j *journal) alarms() []string {
	var found []string
	for line := range strings.Lines(j.String()) {
		for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "the handler panicked", "the login panicked"} {
			if strings.Contains(line, bad) {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return found
}
